"""The documents in the program: read and searched at `/help`, without a network."""
