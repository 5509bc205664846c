"""Bulletins, shift reports and the quick card: what a period was like, as it was known at its end."""
