"""Commands for one site: its file, level, alerts and readings."""
