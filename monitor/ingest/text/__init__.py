"""Parse numbers, times and table heads in the spellings that files contain."""
