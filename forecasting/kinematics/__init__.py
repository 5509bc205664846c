"""How a slope moves: velocity and acceleration with their error, stage of movement, failure window. Plain Python."""
