"""Who is on duty: plans of teams, swaps, and how one hands the watch over to the next."""
