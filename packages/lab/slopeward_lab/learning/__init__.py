"""From scenes and the outlines of people to a network of one's own, tried beside the simple map."""
