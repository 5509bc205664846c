"""Displacement forecasting as a library: knows nothing of the service."""
