"""SQL of sites."""
