"""The state of each instrument, what it needs, and the health notices about it. No decision depends on it."""
