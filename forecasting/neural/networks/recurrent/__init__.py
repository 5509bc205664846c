"""Networks that read a window row by row and keep a state, one per file."""
