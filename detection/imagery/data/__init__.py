"""Labelled patches: one reader per published layout, and one class (`Patches`) for all of them."""
