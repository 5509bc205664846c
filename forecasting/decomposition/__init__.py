"""Decompositions of a series into trend, season and remainder."""
