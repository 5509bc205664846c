"""Training and its figures: recipes, searches, scores and cards."""
