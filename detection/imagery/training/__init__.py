"""Baselines, scores and descriptions of trained weights, and the check that a scene fits them."""
