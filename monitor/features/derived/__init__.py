"""Calculated channels: series that are computed from other series of a site."""
