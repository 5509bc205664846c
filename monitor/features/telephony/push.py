"""Channel `push:ACCOUNT`: a web push message on each device on which that person switched messages on."""

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from monitor.api.alerts import Notification
from monitor.api.database import Database
from monitor.api.decision import shorten
from monitor.api.delivery import (
    ANSWERED_WITH_STATUS,
    CONNECT_TIMEOUT_S,
    TIMEOUT_S,
    make_rejection_error,
    make_timeout_error,
)
from monitor.api.errors import ConfigError, DeliveryError, MissingSettingError
from monitor.api.text import Template, current_language, join
from monitor.features.telephony.queries.devices import Device, end_device, load_open_devices, note_sent
from monitor.features.telephony.web_push import LARGEST, find_key, find_public_key, prove, seal

# Statuses of a device that no longer exists (RFC 8030, section 7.3).
_GONE: Final = frozenset({404, 410})
# Number of attempts to reach a second device after one device has the message.
MOST_TRIES: Final = 4
_NO_DEVICE: Final = Template("delivery.push.no_device", "push: {name} has no device that takes messages")
_IS_GONE: Final = Template("delivery.push.gone", "the push service reports that the device no longer exists ({n})")
# How long the push service stores a message for a device that is switched off.
TTL_S: Final = 6 * 3600


class PushNotifier:
    """Sends an encrypted message to each device of a person.

    The message is delivered when the push service of one device took it. A device that no longer exists is ended. If no
    device is left, the message has failed for good.

    Settings: SLOPEWARD_PUSH__KEY, or `push.key` in the state folder; CONTACT; SERVICES, the only hosts to which
    messages are sent.
    """

    def __init__(self, address: str, environ: Mapping[str, str], db: Database | None) -> None:
        import httpx

        if not address:
            raise ConfigError("channel push: name the account, such as push:ada")
        self._user = address
        self._db = db
        state = Path(environ.get("SLOPEWARD_PATHS__STATE", "var"))
        self._key = find_key(state, environ.get("SLOPEWARD_PUSH__KEY", ""))
        if not self._key:
            raise MissingSettingError(
                f"channel push:{address}: there is no key yet; make one: slopeward notify push keys"
            )
        find_public_key(self._key)
        self._contact = environ.get("SLOPEWARD_PUSH__CONTACT", "")
        self._services = tuple(filter(None, environ.get("SLOPEWARD_PUSH__SERVICES", "").split(",")))
        # At lower levels httpx logs the endpoint of a device, which is a secret.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._client = httpx.Client(timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S), follow_redirects=False)
        # Idempotency key of the present message, and the devices that have it.
        self._message_key = ""
        self._taken = set[int]()

    def deliver(self, notification: Notification) -> None:
        """Send to each device; raise DeliveryError if none took it, or if another attempt may reach one more."""
        db = self._db
        if db is None:
            raise DeliveryError("push: devices are kept in the database, which is away", permanent=True)
        devices = db.run_read(load_open_devices, self._user)
        if notification.idempotency_key != self._message_key:
            self._message_key = notification.idempotency_key
            self._taken = set()
        content = format_push(notification)
        errors: list[DeliveryError] = []
        for device in devices:
            if device.id in self._taken:
                continue
            try:
                self._send(db, device, content, notification)
            except DeliveryError as error:
                errors.append(error)
            else:
                self._taken.add(device.id)
        can_reach_more = notification.attempts < MOST_TRIES and any(not error.permanent for error in errors)
        if self._taken and not can_reach_more:
            return
        if not errors:
            raise DeliveryError(_NO_DEVICE(name=self._user), permanent=True)
        waits_s = [error.retry_after_s for error in errors if error.retry_after_s is not None]
        raise DeliveryError(
            join(dict.fromkeys(error.message for error in errors)),
            permanent=all(error.permanent for error in errors),
            retry_after_s=max(waits_s, default=None),
            is_whole=any(error.is_whole for error in errors),
        )

    def _send(self, db: Database, device: Device, content: bytes, notification: Notification) -> None:
        import httpx

        if not is_served(device.endpoint, self._services):
            raise DeliveryError("push: the push service of a device is not among push.services", permanent=True)
        now = datetime.now(UTC)
        headers = {
            "Authorization": prove(self._key, device.endpoint, self._contact, now),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(TTL_S),
            "Urgency": "high" if notification.ledger != "advice" else "normal",
        }
        try:
            body = seal(content, device.p256dh, device.auth)
            with self._client.stream("POST", device.endpoint, content=body, headers=headers) as response:
                status, after = response.status_code, response.headers.get("Retry-After")
        except httpx.TimeoutException as error:
            raise make_timeout_error("push", error) from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise DeliveryError(f"push: {type(error).__name__}") from error
        if 200 <= status < 300:
            db.run_write(note_sent, device.id, now)
            return
        if status in _GONE:
            with db.write() as c:
                end_device(c, device.id, _IS_GONE(n=status), now)
            raise DeliveryError(f"push: the device {device.name!r} is gone ({status})", permanent=True)
        raise make_rejection_error(ANSWERED_WITH_STATUS(name="push", n=status), status, after)


def is_served(endpoint: str, services: Iterable[str]) -> bool:
    """Return whether an endpoint belongs to a push service of the settings. Messages are sent to no other host.

    >>> is_served("https://fcm.googleapis.com/x", ["fcm.googleapis.com"]), is_served("https://a.b.c/x", ["*.b.c"])
    (True, True)
    >>> is_served("http://fcm.googleapis.com/x", ["fcm.googleapis.com"]), is_served("https://evil/x", ["*.b.c"])
    (False, False)
    >>> is_served("http://127.0.0.1:9/x", ["http://127.0.0.1:9"])
    True
    """
    try:
        parts = urlsplit(endpoint)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return False
    # A push service in the local network is named with scheme and port.
    if f"{parts.scheme}://{parts.netloc}" in services:
        return True
    if parts.scheme != "https" or port not in {None, 443} or parts.username is not None:
        return False
    return any(host == name or (name.startswith("*.") and host.endswith(name[1:])) for name in services)


def format_push(notification: Notification) -> bytes:
    """Return the message as JSON: title, text, and the page that a tap opens. The text is cut until it fits."""
    n = notification
    document: dict[str, Any] = {
        "title": n.subject,
        "body": n.body,
        "url": f"/alerts/{n.alert_id}" if n.alert_id else "/",
        "key": n.idempotency_key[:32],
        "level": n.level,
        "ledger": n.ledger,
        "exercise": n.exercise,
        "language": current_language(),
        "at": n.queued_at.isoformat(),
    }
    for most_characters in (2000, 500, 100):
        content = json.dumps({**document, "body": shorten(n.body, most_characters)}, ensure_ascii=False).encode()
        if len(content) <= LARGEST:
            return content
    return json.dumps({**document, "title": shorten(n.subject, 100), "body": ""}, ensure_ascii=False).encode()
