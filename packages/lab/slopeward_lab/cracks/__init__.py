"""Cracks in pictures: lines with length, width and azimuth, and what became of them since an earlier picture."""
