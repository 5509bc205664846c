"""Kinds of criteria: their keys in the site file, and the assessment of stations by their rules."""
