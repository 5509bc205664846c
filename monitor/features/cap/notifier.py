"""Channel `cap:NAME`: post hazard alerts as CAP 1.2 to the URL in the environment variable NAME."""

from collections.abc import Mapping
from typing import ClassVar

from monitor.api.alerts import Notification
from monitor.api.delivery import WebhookNotifier
from monitor.api.errors import DeliveryError
from monitor.features.cap.message import write_notice


class CapNotifier(WebhookNotifier):
    """Post the CAP message of an alert in the way of a webhook. An exercise without a message is sent as a test."""

    kind: ClassVar[str] = "cap"
    media_type: ClassVar[str] = "application/cap+xml"

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        super().__init__(address, environ)
        self._sender = environ.get("SLOPEWARD_CAP__SENDER") or "slopeward"

    def _write(self, notification: Notification) -> str:
        if notification.document:
            return notification.document
        if not notification.exercise:
            raise DeliveryError("cap: only hazard alerts can be sent as CAP", permanent=True)
        text = f"{notification.subject}. {notification.body}"
        return write_notice(notification.idempotency_key, self._sender, notification.queued_at, text)
