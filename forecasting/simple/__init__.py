"""The simple forecasts that every network is compared with, and that serve where it is not better."""
