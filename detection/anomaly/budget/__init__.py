"""Correct the threshold of a detector from the labels that people give to its alarms."""
