"""How stations move and when they might fail, judged again with every new datum and kept row by row."""
