"""SQL of the condition of instruments."""
