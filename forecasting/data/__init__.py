"""Measured records as panels: series, drivers, splits, windows, and the inputs of networks."""
