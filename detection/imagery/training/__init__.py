"""Scores and baselines of trained weights, the description of their training, and the check that a scene fits it."""
