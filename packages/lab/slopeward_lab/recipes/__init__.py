"""Recipes: TOML files that describe how a scene network is trained, and the cards of the weights that come out."""
