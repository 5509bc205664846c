"""Online combination of forecasts: experts, their weights, and intervals from past errors."""
