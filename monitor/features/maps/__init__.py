"""Zones, shaded relief and map tiles for the maps of the page."""
