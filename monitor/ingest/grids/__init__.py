"""Rasters and grids with times: what they say at stations, and pixels as points."""
