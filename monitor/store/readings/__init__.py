"""What instruments say: readings, points, flags, and what was refused."""
