"""Simulated clock through the same decision code."""
