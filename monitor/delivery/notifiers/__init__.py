"""The notifiers of the built-in channels, one module each. `monitor.delivery.notifier` defines their interface."""
