"""What a stranger's table most likely means: a mapping and stations to confirm, and what only a person can know."""
