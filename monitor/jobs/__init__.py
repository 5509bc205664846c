"""Heavy work of the service: forecasts, scores, training, anomalies, scenes, housekeeping."""
