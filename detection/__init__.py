"""Detection as a library: imagery and anomalies; knows nothing of the service."""
