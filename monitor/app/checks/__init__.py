"""Checks of the service and of what it stands on."""
