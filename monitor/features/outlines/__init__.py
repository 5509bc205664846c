"""Outlines of people on scenes, their words on footprints, and networks that learn from both."""
