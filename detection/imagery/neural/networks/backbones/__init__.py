"""Encoders that several networks share."""
