"""Ingest in processes of its own, where the service file asks for more than one."""
