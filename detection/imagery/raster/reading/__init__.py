"""What comes from outside is made sense of: numbers of rasters with their fills, geometries as outlines."""
