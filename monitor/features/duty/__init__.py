"""Duty: plans of teams, swaps, and the hand-over from one person to the next."""
