"""SQL of the delivery."""
