"""Segmentation networks in plain torch."""
