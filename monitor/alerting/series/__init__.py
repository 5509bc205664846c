"""What each series says: tracks, steps, noise, health of instruments, bounds in force."""
