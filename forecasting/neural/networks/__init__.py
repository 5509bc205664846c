"""The layers of each network."""
