"""Models and what they gave: forecasts, scores, anomalies, movement."""
