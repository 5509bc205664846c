"""Channel `log:NAME`: one line in the log of the service. It needs no settings."""

import logging
from collections.abc import Mapping

from monitor.alerts.notification import Notification

_LOG = logging.getLogger("slopeward.notification")


class LogNotifier:
    """Writes messages as warnings."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        del environ
        self._name = address or "log"

    def deliver(self, notification: Notification) -> None:
        """Write the message as one line."""
        n = notification
        _LOG.warning(
            "[%s] %s %s level %s (%d) for %s: %s | %s [id %s]",
            self._name,
            n.site,
            n.ledger,
            n.level_name,
            n.level,
            n.recipient,
            n.subject,
            " / ".join(n.body.splitlines()),
            n.idempotency_key[:12],
        )
