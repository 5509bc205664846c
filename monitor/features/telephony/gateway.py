"""Client of a provider of text messages and calls with the interface of Twilio, and signatures of its requests."""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from monitor.api.delivery import (
    ANSWERED_WITH_STATUS,
    CONNECT_TIMEOUT_S,
    TIMEOUT_S,
    UNCOMPRESSED_HEADERS,
    make_rejection_error,
    make_timeout_error,
    read_answer,
)
from monitor.api.errors import ConfigError, DeliveryError, MissingSettingError
from monitor.api.text import N_, gettext

# Paths of the page, below `web.public_url`, to which the provider sends reports.
STATUS: Final = "/gateway/status"
REPLY: Final = "/gateway/reply"
DIGIT: Final = "/gateway/digit"
SIGNATURE: Final = "X-Twilio-Signature"
# Final states of a message or call at the provider.
RECEIVED: Final = frozenset({"delivered", "read", "completed"})
FAILED: Final = frozenset({"undelivered", "failed", "busy", "no-answer", "canceled"})
# Languages of the voice.
LANGUAGES: Final = {"en": "en-GB", "it": "it-IT", "es": "es-ES", "zh": "zh-CN"}
PRESS: Final = N_("Press 1 to acknowledge.")


class Gateway:
    """Posts forms to a provider. Settings: SLOPEWARD_SMS__URL, ACCOUNT, TOKEN and SENDER."""

    def __init__(self, environ: Mapping[str, str], channel: str) -> None:
        import httpx

        base = environ.get("SLOPEWARD_SMS__URL", "")
        account = environ.get("SLOPEWARD_SMS__ACCOUNT", "")
        token = environ.get("SLOPEWARD_SMS__TOKEN", "")
        self.sender = environ.get("SLOPEWARD_SMS__SENDER", "")
        if not (base and account and self.sender):
            raise ConfigError(f"channel {channel}: [sms] needs url, account and sender")
        if not token:
            raise MissingSettingError(f"channel {channel}: the environment variable SLOPEWARD_SMS__TOKEN is not set")
        self.page_url = environ.get("SLOPEWARD_WEB__PUBLIC_URL", "")
        self._base = f"{base}/2010-04-01/Accounts/{account}"
        # At lower levels httpx logs URLs, which contain the account.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._client = httpx.Client(
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            follow_redirects=False,
            auth=(account, token),
            headers=UNCOMPRESSED_HEADERS,
        )

    def post(self, resource: str, form: Mapping[str, str], kind: str, message: int, key: str) -> str:
        """Create a message or a call and return its id at the provider.

        Args:
            resource: `Messages` or `Calls`.
            form: Fields of the form, without sender and callback.
            kind: Kind of the channel, for errors.
            message: Number of the notification; 0 for a test.
            key: Idempotency key, which providers that support it compare.

        Raises:
            DeliveryError: The provider did not take it.
        """
        import httpx

        report = self.find_callback(STATUS, message=message)
        form = {"From": self.sender, **form, **({"StatusCallback": report} if report else {})}
        headers = {"Idempotency-Key": key}
        try:
            with self._client.stream("POST", f"{self._base}/{resource}.json", data=form, headers=headers) as answer:
                content = read_answer(answer)
        except httpx.TimeoutException as error:
            raise make_timeout_error(kind, error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The provider had received the request if only its answer could not be read.
            is_whole = isinstance(error, httpx.ReadError)
            raise DeliveryError(f"{kind}: {type(error).__name__}", is_whole=is_whole) from error
        status = answer.status_code
        try:
            reply = json.loads(content)
        except (ValueError, RecursionError):
            reply = {}
        reply = reply if isinstance(reply, dict) else {}
        if 200 <= status < 300 and reply.get("sid"):
            return str(reply["sid"])[:64]
        code = f" (code {reply['code']})" if isinstance(reply.get("code"), int) else ""
        raise make_rejection_error(
            ANSWERED_WITH_STATUS(name=kind, n=f"{status}{code}"), status, answer.headers.get("Retry-After")
        )

    def find_callback(self, path: str, **query: int) -> str:
        """Return the address of the page to which the provider sends reports; empty if the page has no public one."""
        if not self.page_url:
            return ""
        parameters = urlencode({name: value for name, value in query.items() if value})
        return f"{self.page_url}{path}?{parameters}" if parameters else f"{self.page_url}{path}"


def sign(token: str, url: str, form: Iterable[tuple[str, str]]) -> str:
    """Return the signature of a request by the provider: HMAC-SHA1 of the address and the sorted fields of the form.

    >>> form = {  # the example of Twilio's documentation
    ...     "CallSid": "CA1234567890ABCDE", "Caller": "+14158675310", "Digits": "1234", "From": "+14158675310",
    ...     "To": "+18005551212",
    ... }
    >>> sign("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", form.items())
    'GvWf1cFY/Q7PnoempGyD5oXAezc='
    """
    text = url + "".join(name + value for name, value in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def is_signed(token: str, url: str, form: Iterable[tuple[str, str]], signature: str) -> bool:
    """Return whether a report was signed with the token and not changed."""
    return bool(token) and hmac.compare_digest(sign(token, url, form).encode(), signature.encode())


def write_call(text: str, language: str, answer_at: str) -> str:
    """Return the TwiML of a call that speaks the message twice, and takes the digit 1 if there is an address for it.

    >>> write_call("Red", "en", "")
    '<Response><Say language="en-GB">Red</Say><Pause /><Say language="en-GB">Red</Say></Response>'
    """
    root = ET.Element("Response")
    parent = root
    if answer_at:
        attributes = {"input": "dtmf", "numDigits": "1", "timeout": "10", "action": answer_at, "method": "POST"}
        parent = ET.SubElement(root, "Gather", attributes)
        text = f"{text} {gettext(PRESS)}"
    voice = LANGUAGES.get(language, LANGUAGES["en"])
    ET.SubElement(parent, "Say", language=voice).text = text
    ET.SubElement(parent, "Pause")
    ET.SubElement(parent, "Say", language=voice).text = text
    return ET.tostring(root, encoding="unicode")


def write_answer(tag: str, text: str, language: str = "en") -> str:
    """Return the TwiML of an answer: `Message` to a text message, `Say` in a call. It is empty without a text."""
    root = ET.Element("Response")
    if text:
        attributes = {"language": LANGUAGES.get(language, LANGUAGES["en"])} if tag == "Say" else {}
        ET.SubElement(root, tag, attributes).text = text
    return ET.tostring(root, encoding="unicode")
