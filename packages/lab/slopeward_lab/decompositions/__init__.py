"""Decompositions of a series that compare and display, and never feed a forecast of the service."""
