"""Recipes: TOML files that describe how a scene network is trained. The trained weights get a card."""
