"""Networks that look at all rows of a window at once by attention, one per file."""
