"""Errors that a person can read."""

from monitor.errors import (
    ConfigError,  # a configuration file cannot be used; names the file, the key and the remedy
    DeliveryError,  # a channel did not deliver; `permanent` means that another attempt is useless
    NotFoundError,  # what the person named does not exist
    PayloadError,  # a message cannot be read; has a stable code and a reason
    RefusedError,  # the act is not allowed in this state, or for this person
)

__all__ = [
    "ConfigError",
    "DeliveryError",
    "NotFoundError",
    "PayloadError",
    "RefusedError",
]
