"""Frozen records of the field: sites, observations, alerts. Standard library only."""
