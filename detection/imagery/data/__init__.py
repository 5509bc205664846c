"""Labelled patches from elsewhere: one reader per published layout, one small record for all of them."""
