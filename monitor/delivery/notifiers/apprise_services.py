"""Channel `apprise:ENV_NAME`: any service that Apprise supports, by the Apprise URL in that variable."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from monitor.alerts.notification import Notification
from monitor.delivery.notifier import read_secret
from monitor.errors import ConfigError, DeliveryError
from monitor.text.message import Template

_NOT_TAKEN: Final = Template("delivery.apprise.not_taken", "apprise: the service did not take the message")


class AppriseNotifier:
    """Sends through Apprise, which is imported with the first channel of this kind."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        import apprise

        url = read_secret(environ, address, "apprise")
        # At lower levels Apprise logs URLs, which are secrets.
        logging.getLogger("apprise").setLevel(logging.ERROR)
        self._apprise: Any = apprise.Apprise()
        self._urgent_type = apprise.NotifyType.FAILURE
        self._type = apprise.NotifyType.WARNING
        if not self._apprise.add(url):
            raise ConfigError(f"channel apprise:{address}: Apprise cannot read the URL in {address}")

    def deliver(self, notification: Notification) -> None:
        """Send the message.

        Apprise does not report why a service took no message, so each failure is tried again.
        """
        body = f"{notification.body}\n[{notification.idempotency_key[:12]}]"
        notify_type = self._urgent_type if notification.level >= 2 else self._type
        try:
            is_taken = self._apprise.notify(title=notification.subject, body=body, notify_type=notify_type)
        except Exception as error:  # plug-ins of Apprise raise exceptions of any kind
            raise DeliveryError(f"apprise: {type(error).__name__}") from error
        if not is_taken:
            raise DeliveryError(_NOT_TAKEN())
