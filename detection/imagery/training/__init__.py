"""Training and its figures: recipes, searches, scores, cards, and what people's reviews add."""
