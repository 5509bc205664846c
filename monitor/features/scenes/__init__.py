"""Scenes: images, footprints of landslides, changes between dates."""
