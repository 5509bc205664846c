"""Queries about telephones, browsers and sirens."""
