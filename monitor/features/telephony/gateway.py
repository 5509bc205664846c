"""A provider of text messages and calls with Twilio's interface: what is sent to it, and proof of what comes back."""

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

# addresses of the page at which the provider reports, below `web.public_url`
STATUS: Final = "/gateway/status"
REPLY: Final = "/gateway/reply"
DIGIT: Final = "/gateway/digit"
SIGNATURE: Final = "X-Twilio-Signature"
# words of the provider that end the story of a message or call; the others are on the way
RECEIVED: Final = frozenset({"delivered", "read", "completed"})
FAILED: Final = frozenset({"undelivered", "failed", "busy", "no-answer", "canceled"})
LANGUAGES: Final = {"en": "en-GB", "it": "it-IT", "es": "es-ES", "zh": "zh-CN"}  # of the voice that speaks
PRESS: Final = N_("Press 1 to acknowledge.")


class Gateway:
    """Posts forms to the provider of the environment's settings SLOPEWARD_SMS__URL, ACCOUNT, TOKEN and SENDER."""

    def __init__(self, environ: Mapping[str, str], channel: str) -> None:
        import httpx

        base, account = environ.get("SLOPEWARD_SMS__URL", ""), environ.get("SLOPEWARD_SMS__ACCOUNT", "")
        token, self.sender = environ.get("SLOPEWARD_SMS__TOKEN", ""), environ.get("SLOPEWARD_SMS__SENDER", "")
        if not (base and account and self.sender):
            raise ConfigError(f"channel {channel}: [sms] needs url, account and sender")
        if not token:
            raise MissingSettingError(f"channel {channel}: the environment variable SLOPEWARD_SMS__TOKEN is not set")
        self.page_url = environ.get("SLOPEWARD_WEB__PUBLIC_URL", "")
        self._base = f"{base}/2010-04-01/Accounts/{account}"
        logging.getLogger("httpx").setLevel(logging.WARNING)  # addresses with the account, at lower levels
        self._client = httpx.Client(
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            follow_redirects=False,
            auth=(account, token),
            headers=UNCOMPRESSED_HEADERS,
        )

    def post(self, what: str, form: Mapping[str, str], kind: str, message: int) -> str:
        """Send `Messages` or `Calls`; returns what the provider calls it; raises DeliveryError: it took nothing."""
        import httpx

        report = self.find_callback(STATUS, message=message)
        form = {"From": self.sender, **form, **({"StatusCallback": report} if report else {})}
        try:
            with self._client.stream("POST", f"{self._base}/{what}.json", data=form) as answer:
                content = read_answer(answer)
        except httpx.TimeoutException as error:
            raise make_timeout_error(kind, error) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DeliveryError(f"{kind}: {type(error).__name__}") from error
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
        """Where the provider reports; empty where people and providers have no address of the page."""
        known = urlencode({name: value for name, value in query.items() if value})
        return f"{self.page_url}{path}{f'?{known}' if known else ''}" if self.page_url else ""


def sign(token: str, url: str, form: Iterable[tuple[str, str]]) -> str:
    """The provider's signature: HMAC-SHA1 of the address and the sorted fields of the form, by the account's token.

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
    """Whether a report comes from who knows the token, and is as it was sent."""
    return bool(token) and hmac.compare_digest(sign(token, url, form).encode(), signature.encode())


def write_call(text: str, language: str, answer_at: str) -> str:
    """TwiML of a call: says the message twice and takes the digit 1; without an address it only says it.

    >>> write_call("Red", "en", "")
    '<Response><Say language="en-GB">Red</Say><Pause /><Say language="en-GB">Red</Say></Response>'
    """
    root = ET.Element("Response")
    holder = root
    if answer_at:
        attributes = {"input": "dtmf", "numDigits": "1", "timeout": "10", "action": answer_at, "method": "POST"}
        holder = ET.SubElement(root, "Gather", attributes)
        text = f"{text} {gettext(PRESS)}"
    for turn in range(2):
        if turn:
            ET.SubElement(holder, "Pause")
        ET.SubElement(holder, "Say", language=LANGUAGES.get(language, LANGUAGES["en"])).text = text
    return ET.tostring(root, encoding="unicode")


def write_answer(tag: str, text: str, language: str = "en") -> str:
    """TwiML that answers: `Message` to a text message, `Say` in a call; nothing at all where there is no text."""
    root = ET.Element("Response")
    if text:
        more = {"language": LANGUAGES.get(language, LANGUAGES["en"])} if tag == "Say" else {}
        ET.SubElement(root, tag, more).text = text
    return ET.tostring(root, encoding="unicode")
