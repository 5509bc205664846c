"""Measured records as panels: series, drivers, splits, windows and what a network reads of them."""
