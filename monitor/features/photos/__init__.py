"""Photos of the field, taken by the telephone."""
