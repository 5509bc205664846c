"""Features: each owns everything about its subject."""
