"""Verbs for one site: its file, its level, its alerts, its readings."""
