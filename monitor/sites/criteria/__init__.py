"""Sections of criteria in a site file."""
