"""Forecasts that are issued: the combination, its networks, failure windows and physical limits; and training."""
