"""Anomaly detectors that the service does not serve by default."""
