"""Faults that need no score because they are certain."""
