"""Levels, alerts and their stories, and all that people declare of a site."""
