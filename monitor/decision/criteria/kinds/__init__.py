"""One module per kind of criterion. `monitor.decision.plugin` registers them."""
