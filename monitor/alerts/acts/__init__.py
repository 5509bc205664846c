"""Acts of people: set a level, answer a question, approve a site file."""
