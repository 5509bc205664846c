"""Satellite points by the ten thousand."""
