"""Satellite points by the ten thousand: looked at as they come, forecast, and drawn on the map of a site."""
