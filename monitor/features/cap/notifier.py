"""Channel `cap:NAME`: hazard alerts as CAP 1.2 by HTTP POST to the URL that the environment variable NAME holds."""

from collections.abc import Mapping
from typing import ClassVar

from monitor.api.alerts import Notification
from monitor.api.delivery import WebhookNotifier
from monitor.api.errors import DeliveryError
from monitor.features.cap.message import write_notice


class CapNotifier(WebhookNotifier):
    """Posts the message of an alert as a webhook posts its JSON; without one only a test of the channel is sent."""

    kind: ClassVar[str] = "cap"
    media_type: ClassVar[str] = "application/cap+xml"

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        super().__init__(address, environ)
        self._sender = environ.get("SLOPEWARD_CAP__SENDER") or "slopeward"

    def _write(self, notification: Notification) -> str:
        if notification.document:
            return notification.document
        if not notification.exercise:
            raise DeliveryError("cap: CAP warns of hazards only", permanent=True)
        name, at = notification.idempotency_key, notification.queued_at
        return write_notice(name, self._sender, at, f"{notification.subject}. {notification.body}")
