"""Migrations of the tables of this package, a branch beside that of Slopeward."""
