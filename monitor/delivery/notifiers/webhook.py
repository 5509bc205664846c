"""Channel `webhook:ENV_NAME`: POST of JSON to the URL in that variable, signed when `ENV_NAME_SECRET` is set.

httpx is imported where such a channel is used, because the MQTT channel, which every service has, takes the body from
here.
"""

import hashlib
import hmac
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, ClassVar, Final

from monitor.alerts.notification import Notification
from monitor.canonical import canonical_json
from monitor.delivery.notifier import read_secret
from monitor.delivery.notifiers.answers import find_refusal
from monitor.errors import ConfigError, DeliveryError
from monitor.text.catalogue import current_language
from monitor.text.instants import format_iso
from monitor.text.message import Template

if TYPE_CHECKING:
    import httpx

# Statuses 4xx of a temporary problem, or of one that a person can correct: account, key, address, proxy.
PASSING: Final = frozenset({408, 425, 429, 401, 403, 404, 407})
TIMEOUT_S: Final = 8.0
CONNECT_TIMEOUT_S: Final = 5.0
# The timeouts of one delivery together are shorter than its lease.
ANSWER_S: Final = 26.0
BEGINNING_S: Final = 2.0
BEGINNING_BYTES: Final = 1 << 16
LARGEST_ANSWER: Final = 1 << 20
# Texts of every channel that uses HTTP.
ANSWERED_WITH_STATUS: Final = Template("delivery.http.answered", "{name}: answered {n}")
NO_ANSWER: Final = Template("delivery.http.no_answer", "{name}: no answer in time")
# Attributes of a notification that the JSON body contains.
_BODY_FIELDS: Final = (
    "idempotency_key",
    "alert_id",
    "event_id",
    "site",
    "ledger",
    "level",
    "level_name",
    "recipient",
    "exercise",
    "subject",
    "body",
)
# Headers of a request whose answer `read_answer` reads.
UNCOMPRESSED_HEADERS: Final = {"Accept-Encoding": "identity"}


class WebhookNotifier:
    """POSTs a notification with `Idempotency-Key` and, given a secret, `X-Slopeward-Signature: t=...,v1=...`.

    The signature is HMAC-SHA256 in hex over `<t>.<body>` with t in seconds since 1970.

    A message is delivered if the status is 2xx and the body of the answer reports no error (`find_refusal`), or
    contains the text in `ENV_NAME_EXPECTS` if that is set. A message is not tried again after a status that is final
    (`is_final`), otherwise after `Retry-After` if there is one. Redirects count as failures and are not followed.
    """

    kind: ClassVar[str] = "webhook"
    media_type: ClassVar[str] = "application/json"

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        import httpx

        self._url = read_secret(environ, address, self.kind)
        if not self._url.startswith(("http://", "https://")):
            raise ConfigError(f"channel {self.kind}:{address}: the URL must begin with http:// or https://")
        secret = f"{address}_SECRET"
        has_secret = secret in environ or f"{secret}_FILE" in environ
        self._secret = read_secret(environ, secret, self.kind).encode() if has_secret else None
        self._expected = environ.get(f"{address}_EXPECTS", "")
        # At lower levels httpx logs URLs, which are secrets.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._client = httpx.Client(timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_TIMEOUT_S), follow_redirects=False)

    def deliver(self, notification: Notification) -> None:
        """POST the message, and check the status and the beginning of the answer."""
        import httpx

        content = self._write(notification).encode()
        headers = {
            "Content-Type": self.media_type,
            "User-Agent": "slopeward",
            "Idempotency-Key": notification.idempotency_key,
            "X-Slopeward-Attempt": str(notification.attempts),
            **UNCOMPRESSED_HEADERS,
        }
        if self._secret is not None:
            headers["X-Slopeward-Signature"] = sign(self._secret, content, int(time.time()))
        try:
            with self._client.stream("POST", self._url, content=content, headers=headers) as response:
                status, retry_after = response.status_code, response.headers.get("Retry-After")
                is_taken = 200 <= status < 300
                body = read_beginning(response) if is_taken else b""
        except httpx.TimeoutException as error:
            raise make_timeout_error(self.kind, error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DeliveryError(
                f"{self.kind}: {type(error).__name__}: {str(error).replace(self._url, '<url>')}"
            ) from error
        if is_taken:
            refusal = find_refusal(self.kind, status, body.replace(self._url.encode(), b"<url>"), self._expected)
            if refusal is None:
                return
            raise DeliveryError(refusal, retry_after_s=read_retry_after(retry_after, datetime.now(UTC)))
        raise make_rejection_error(ANSWERED_WITH_STATUS(name=self.kind, n=status), status, retry_after)

    def _write(self, notification: Notification) -> str:
        return payload(notification)


def make_timeout_error(name: str, error: "httpx.TimeoutException") -> DeliveryError:
    """Return the error of a request without an answer in time.

    If the connection succeeded and only the answer is missing, the receiver may have received the whole message.
    """
    import httpx

    return DeliveryError(NO_ANSWER(name=name), is_whole=isinstance(error, httpx.ReadTimeout))


def is_final(status: int) -> bool:
    """Return whether a status refuses the message itself, so that another attempt cannot succeed.

    >>> [status for status in (302, 400, 401, 404, 410, 413, 429, 500) if is_final(status)]
    [400, 410, 413]
    """
    return 400 <= status < 500 and status not in PASSING


def make_rejection_error(problem: str, status: int, retry_after: str | None) -> DeliveryError:
    """Return the error of an answer whose status rejects the message."""
    wait_s = None if is_final(status) else read_retry_after(retry_after, datetime.now(UTC))
    return DeliveryError(problem, permanent=is_final(status), retry_after_s=wait_s)


def payload(notification: Notification) -> str:
    """Return the JSON body.

    It is the same for each attempt with one key, unless the message replaced others between two attempts.
    """
    body = {name: getattr(notification, name) for name in _BODY_FIELDS}
    at = format_iso(notification.queued_at)
    return canonical_json(body | {"notification_id": notification.id, "language": current_language(), "queued_at": at})


def sign(secret: bytes, content: bytes, at_s: int) -> str:
    """Return the signature header of a body.

    >>> sign(b"k", b"{}", 1)[:12]
    't=1,v1=3dd49'
    """
    digest = hmac.new(secret, f"{at_s}.".encode() + content, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def read_beginning(response: "httpx.Response") -> bytes:
    """Return the beginning of an answer: at most `BEGINNING_BYTES`, and what arrives within `BEGINNING_S`.

    The status has already been received. An answer that breaks off or does not end is judged by its beginning, so that
    a slow receiver does not get the message again.
    """
    import httpx

    response.request.extensions["timeout"]["read"] = BEGINNING_S
    deadline = time.monotonic() + BEGINNING_S
    beginning = bytearray()
    try:
        for piece in response.iter_raw():
            beginning += piece
            if len(beginning) >= BEGINNING_BYTES or time.monotonic() > deadline:
                break
    except httpx.HTTPError:
        pass
    return bytes(beginning[:BEGINNING_BYTES])


def read_answer(answer: "httpx.Response") -> bytes:
    """Return the body of a streamed answer, not decompressed.

    Raises:
        httpx.HTTPError: The answer breaks off, is larger than `LARGEST_ANSWER`, or does not end within `TIMEOUT_S`.
    """
    import httpx

    until_s = time.monotonic() + TIMEOUT_S
    content = bytearray()
    for piece in answer.iter_raw():
        content += piece
        if len(content) > LARGEST_ANSWER or time.monotonic() > until_s:
            raise httpx.ReadError("an answer without end")
    return bytes(content)


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header: a number or an HTTP date (RFC 9110 §10.2.3). None if it is neither.

    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> read_retry_after("120", now), read_retry_after("soon", now)
    (120.0, None)
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max((at - now).total_seconds(), 0.0) if at.tzinfo is not None else None
