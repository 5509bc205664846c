"""The layers of the networks, one module per family."""
