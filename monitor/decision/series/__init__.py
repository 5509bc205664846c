"""What readings of a series say before any criterion judges them: tracks, steps, noise, health."""
