"""Alerts: their states, evaluation, and acts of people on them."""

from monitor.alerts.notification import (
    Notification,  # one message to one recipient by one channel
)

__all__ = [
    "Notification",
]
