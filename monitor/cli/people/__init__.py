"""Verbs for accounts and tokens."""
