"""Scenes: images, footprints of landslides, changes between dates, and outlines that people draw."""
