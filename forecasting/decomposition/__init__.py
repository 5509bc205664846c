"""Trend, season and rest of a series; for a forecast only from what was known at its moment of issue."""
