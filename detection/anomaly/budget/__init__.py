"""Correction of thresholds while a detector is served."""
