"""Channels, one module each. A notifier delivers a message or raises DeliveryError."""
