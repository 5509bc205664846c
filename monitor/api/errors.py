"""Errors that a person can read."""

from monitor.errors import (
    ConfigError,  # a configuration file cannot be used; names the file, the key and the remedy
    DeliveryError,  # a channel did not deliver; `permanent` means that another attempt is useless
    PayloadError,  # a message cannot be read; has a stable code and a reason
)

__all__ = [
    "ConfigError",
    "DeliveryError",
    "PayloadError",
]
