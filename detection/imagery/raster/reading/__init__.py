"""Interpret untrusted data: the values of raster bands with their fills, and geometries as outlines."""
