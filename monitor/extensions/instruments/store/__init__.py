"""What the board looks at and what it finds, and each instrument with all that is known of it."""
