"""Audit of decisions: explain, recompute and export them."""
