"""Settings: the service file and the environment."""
