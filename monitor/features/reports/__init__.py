"""Bulletins and shift reports on a period, as it was known at its end, and the quick card of a site."""
