"""Channel `push:ACCOUNT`: a notification on each device on which that person switched them on (web push)."""

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

_GONE: Final = frozenset({404, 410})  # RFC 8030, 7.3
MOST_TRIES: Final = 4  # for a second device, when the first one has the message
_NO_DEVICE: Final = Template("delivery.push.no_device", "push: {name} has no device that takes messages")
_IS_GONE: Final = Template("delivery.push.gone", "the push service says that it is gone ({n})")
TTL_S: Final = 6 * 3600  # how long the push service keeps it for a device that is off


class PushNotifier:
    """Sends one sealed message to each device of a person; taken is it when one push service has it.

    Settings: SLOPEWARD_PUSH__KEY, or `push.key` in the folder of the state; CONTACT; SERVICES, the only hosts that a
    message goes to. A device that is gone is ended; when none is left the message has failed for good.
    """

    def __init__(self, address: str, environ: Mapping[str, str], db: Database | None) -> None:
        import httpx

        if not address:
            raise ConfigError("channel push: name the account, such as push:ada")
        self._user, self._db = address, db
        state = Path(environ.get("SLOPEWARD_PATHS__STATE", "var"))
        self._key = find_key(state, environ.get("SLOPEWARD_PUSH__KEY", ""))
        if not self._key:
            raise MissingSettingError(
                f"channel push:{address}: there is no key yet; make one: slopeward notify push keys"
            )
        find_public_key(self._key)
        self._contact = environ.get("SLOPEWARD_PUSH__CONTACT", "")
        self._services = tuple(filter(None, environ.get("SLOPEWARD_PUSH__SERVICES", "").split(",")))
        logging.getLogger("httpx").setLevel(logging.WARNING)  # an endpoint is a secret
        self._client = httpx.Client(timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S), follow_redirects=False)
        self._key_of, self._taken = "", set[int]()  # of the message in hand, and which devices have it

    def deliver(self, notification: Notification) -> None:
        """Send to each device; raises DeliveryError where none took it, or the next try may reach one more."""
        db = self._db
        if db is None:
            raise DeliveryError("push: devices are kept in the database, which is away", permanent=True)
        devices = db.run_read(load_open_devices, self._user)
        if notification.idempotency_key != self._key_of:
            self._key_of, self._taken = notification.idempotency_key, set()
        content = format_push(notification)
        troubles = []
        for device in (one for one in devices if one.id not in self._taken):
            try:
                self._send(db, device, content, notification)
            except DeliveryError as error:
                troubles.append(error)
            else:
                self._taken.add(device.id)
        waits = notification.attempts < MOST_TRIES and any(not e.permanent for e in troubles)
        if self._taken and not waits:
            return
        if not troubles:
            raise DeliveryError(_NO_DEVICE(name=self._user), permanent=True)
        wait_s = max((e.retry_after_s for e in troubles if e.retry_after_s is not None), default=None)
        raise DeliveryError(
            join(dict.fromkeys(e.message for e in troubles)),
            permanent=all(e.permanent for e in troubles),
            retry_after_s=wait_s,
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
            db.do(note_sent, device.id, now)
            return
        if status in _GONE:
            with db.write() as c:
                end_device(c, device.id, _IS_GONE(n=status), now)
            raise DeliveryError(f"push: the device {device.name!r} is gone ({status})", permanent=True)
        raise make_rejection_error(ANSWERED_WITH_STATUS(name="push", n=status), status, after)


def is_served(endpoint: str, services: Iterable[str]) -> bool:
    """Whether an endpoint belongs to a push service that is named: nobody makes us ask other addresses.

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
    if f"{parts.scheme}://{parts.netloc}" in services:  # of one's own network: spelled out with scheme and port
        return True
    if parts.scheme != "https" or port not in {None, 443} or parts.username is not None:
        return False
    return any(host == one or (one.startswith("*.") and host.endswith(one[1:])) for one in services)


def format_push(notification: Notification) -> bytes:
    """What the browser shows: title, a text, and the page that a tap opens; cut to what one message can hold."""
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
    for most in (2000, 500, 100):
        content = json.dumps({**document, "body": shorten(n.body, most)}, ensure_ascii=False).encode()
        if len(content) <= LARGEST:
            return content
    return json.dumps({**document, "title": shorten(n.subject, 100), "body": ""}, ensure_ascii=False).encode()
