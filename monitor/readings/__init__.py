"""Readings: records of what instruments measured, and where they are stored."""
