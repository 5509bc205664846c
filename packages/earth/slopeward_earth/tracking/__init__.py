"""Displacement between two images by image correlation."""
