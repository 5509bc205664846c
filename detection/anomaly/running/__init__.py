"""State of a site between two scorings of its new readings."""
