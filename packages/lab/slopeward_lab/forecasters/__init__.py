"""Forecasting networks that the service does not serve by default, one per file."""
