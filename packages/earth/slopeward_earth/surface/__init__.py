"""Difference of two surfaces."""
