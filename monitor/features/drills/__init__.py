"""Exercises: a failure is decided in memory and reported by the real channels."""
