"""Delivery of messages: channels, declarations and receipts."""

from monitor.delivery.notifier import (
    open_notifier,  # returns the notifier of a channel such as `lamp:/run/lamp`
    read_secret,  # returns the value of an environment variable that a channel names
)

__all__ = [
    "open_notifier",
    "read_secret",
]
