"""Channel `apprise:ENV_NAME`: any service Apprise knows, by the Apprise URL in that variable."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from monitor.alerts.notification import Notification
from monitor.delivery.notifier import read_secret
from monitor.errors import ConfigError, DeliveryError
from monitor.text.message import Template

_NOT_TAKEN: Final = Template("delivery.apprise.not_taken", "apprise: the service did not take the message")


class AppriseNotifier:
    """Sends through Apprise, which is imported when the first channel of this kind appears."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        import apprise

        url = read_secret(environ, address, "apprise")
        logging.getLogger("apprise").setLevel(logging.ERROR)  # it logs URLs at lower levels
        self._apprise: Any = apprise.Apprise()
        self._types = {True: apprise.NotifyType.FAILURE, False: apprise.NotifyType.WARNING}
        if not self._apprise.add(url):
            raise ConfigError(f"channel apprise:{address}: Apprise cannot read the URL in {address}")

    def deliver(self, notification: Notification) -> None:
        """Send; Apprise says only yes or no, so a no is worth another try."""
        body = f"{notification.body}\n[{notification.idempotency_key[:12]}]"
        kind = self._types[notification.level >= 2]
        try:
            taken = self._apprise.notify(title=notification.subject, body=body, notify_type=kind)
        except Exception as error:  # its plug-ins raise what they like
            raise DeliveryError(f"apprise: {type(error).__name__}") from error
        if not taken:
            raise DeliveryError(_NOT_TAKEN())
