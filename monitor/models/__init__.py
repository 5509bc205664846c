"""Registry of trained models: versions, checkpoints, scores."""
