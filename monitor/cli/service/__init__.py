"""Verbs for the service as a whole: start it, look at it, keep it."""
