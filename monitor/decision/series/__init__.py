"""Process the readings of a series before criteria use them: tracks, steps, noise, coverage and health."""
