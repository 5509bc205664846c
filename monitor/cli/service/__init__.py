"""Commands for the service as a whole."""
