"""Difference of two surfaces: a comparison of two dates with heights as its measure."""
