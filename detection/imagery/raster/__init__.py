"""Rasters as they lie on disk and on the ground: opened safely, read by windows, measured in metres."""
