"""SQL of anomalies."""
