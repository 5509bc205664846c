"""Channels `sms:NAME` and `voice:NAME`: a text or a call to the number in that variable, with a way to answer."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from monitor.api.alerts import Notification
from monitor.api.decision import shorten
from monitor.api.delivery import read_secret
from monitor.api.errors import ConfigError
from monitor.api.sites import split_channel
from monitor.api.text import N_, current_language, gettext
from monitor.features.telephony.gateway import DIGIT, Gateway, write_call
from monitor.features.telephony.modem import put_message
from monitor.features.telephony.queries.replies import GOOD_FOR_S, make_code, tidy_number

LONGEST: Final = 160  # characters of the subject; code and address of the page come behind
HOW: Final = N_("Reply ACK {code} to acknowledge.")
OTHERS: Final = N_("Other alerts: {count}, see the page.")
_SPOKEN: Final = 400


class SmsNotifier:
    """Sends by the gateway that SLOPEWARD_SMS__GATEWAY names: `http`, a provider; `modem`, folders of gammu-smsd."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        self._to = read_number(environ, address, "sms")
        gateway = environ.get("SLOPEWARD_SMS__GATEWAY", "")
        if gateway not in {"http", "modem"}:
            raise ConfigError(f'channel sms:{address}: set gateway = "http" or "modem" in [sms]')
        self._gateway = Gateway(environ, f"sms:{address}") if gateway == "http" else None
        self._folder = Path(environ.get("SLOPEWARD_SMS__MODEM", "var/modem"))

    def deliver(self, notification: Notification) -> str:
        """Hand over; raises DeliveryError where nobody takes it."""
        text = format_sms(notification)
        if self._gateway is None:
            return put_message(self._folder, self._to, text, notification.idempotency_key)
        return self._gateway.post("Messages", {"To": self._to, "Body": text}, "sms", notification.id)


class VoiceNotifier:
    """Lets a provider call and say the subject; the digit 1 acknowledges where the page has an address."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        self._to = read_number(environ, address, "voice")
        if environ.get("SLOPEWARD_SMS__GATEWAY", "") != "http":
            raise ConfigError(f'channel voice:{address}: set gateway = "http" in [sms]; a modem makes no calls')
        self._gateway = Gateway(environ, f"voice:{address}")

    def deliver(self, notification: Notification) -> str:
        """Start the call; raises DeliveryError where nobody makes it."""
        n, gateway = notification, self._gateway
        answer_at = gateway.find_callback(DIGIT, message=n.id) if n.id and n.code else ""
        speech = " ".join([shorten(n.subject, _SPOKEN), *_describe_others(n)])
        text = write_call(speech, current_language(), answer_at)
        return gateway.post("Calls", {"To": self._to, "Twiml": text}, "voice", n.id)


def format_sms(notification: Notification) -> str:
    """The essence first: subject, how many other alerts it stands for, how to answer, where to look."""
    n = notification
    lines = [shorten(" ".join(n.subject.split()), LONGEST)]
    lines += _describe_others(n)
    if n.code:
        lines.append(gettext(HOW).format(code=n.code))
    if n.link:
        lines.append(n.link)
    return "\n".join(lines)


def _describe_others(notification: Notification) -> list[str]:
    """A text or a call has no body to list them in."""
    return [gettext(OTHERS).format(count=notification.others)] if notification.others else []


def read_number(environ: Mapping[str, str], name: str, channel_kind: str) -> str:
    """The telephone number in an environment variable, in one spelling."""
    number = tidy_number(read_secret(environ, name, channel_kind))
    if not number:
        raise ConfigError(f"channel {channel_kind}:{name}: {name} is no number such as +41791234567")
    return number


def make_reply_code(
    c: Connection, message: Notification, person: str, language: str, environ: Mapping[str, str], now: datetime
) -> str:
    """The code by which a reply acknowledges a message in the name of a person, answered in that language."""
    kind, address = split_channel(message.channel)
    good_for = timedelta(seconds=float(environ.get("SLOPEWARD_SMS__REPLY_FOR_S", GOOD_FOR_S)))
    return make_code(c, message, read_number(environ, address, kind), person, language, now, good_for)
