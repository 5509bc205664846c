"""Anomalies in the readings of a site."""
