"""Compute the forecasts that the service issues, their failure windows and physical limits, and train networks."""
