"""SQL of the registry of models."""
