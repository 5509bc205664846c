"""Checks of the service, and of the machine, database and broker that it needs."""
