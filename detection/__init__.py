"""Library that detects landslides in images and anomalies in readings. It does not depend on the service."""
