"""Checks: they find faults for certain, without a score."""
