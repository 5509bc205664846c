"""Forecasts of displacement."""
