"""The documentation on the web page at `/help`, with search and without a network."""
