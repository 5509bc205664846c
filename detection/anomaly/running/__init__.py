"""What is kept of a site between two looks at its new readings."""
