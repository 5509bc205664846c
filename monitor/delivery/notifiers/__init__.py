"""One file per channel: deliver(notification) or raise DeliveryError."""
