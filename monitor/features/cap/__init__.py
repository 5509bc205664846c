"""Hazard alerts as CAP 1.2 messages for other warning systems."""
