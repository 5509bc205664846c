"""Interpret untrusted data: values and fill values of raster bands, and geometries as outlines."""
