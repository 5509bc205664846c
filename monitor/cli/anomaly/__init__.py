"""`slopeward anomalies`: train, score, compare and list detectors; what people say of anomalies."""
