"""Movement of a slope: velocity and acceleration with their errors, stage, failure window. Plain Python."""
