"""Demonstration: broker, service, page and a simulated slope that fails within three minutes."""
