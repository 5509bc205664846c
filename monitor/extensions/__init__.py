"""What the core can do without: a folder each."""
