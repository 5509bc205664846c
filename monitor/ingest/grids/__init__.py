"""Grids with times from netCDF, HDF5 and GeoTIFF: values at the stations of a site, or every pixel as a point."""
