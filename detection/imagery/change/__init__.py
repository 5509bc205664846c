"""What became of the ground between two dates: outlines, rasters, surfaces, and the guards before every word."""
