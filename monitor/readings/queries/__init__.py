"""SQL of readings."""
