"""Channels `sms:NAME` and `voice:NAME`: a text message or a call to the number in a variable, with a way to respond."""

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

# Largest number of characters of a text message and of a spoken message.
LONGEST: Final = 399
# Largest number of characters of the subject.
_SUBJECT_LENGTH: Final = 160
# A sentence that would be cut to fewer characters is left out.
_SHORTEST: Final = 30
HOW: Final = N_("Reply ACK {code} to acknowledge alert {n}.")
ON_PAGE: Final = N_("Acknowledge alert {n} on the page.")
OTHERS: Final = N_("Other alerts: {count}, see the page.")
TO_DO: Final = N_("To do: {action}")


class SmsNotifier:
    """Sends by the gateway in SLOPEWARD_SMS__GATEWAY: `http` for a provider, `modem` for the folders of gammu-smsd."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        self._to = read_number(environ, address, "sms")
        gateway = environ.get("SLOPEWARD_SMS__GATEWAY", "")
        if gateway not in {"http", "modem"}:
            raise ConfigError(f'channel sms:{address}: set gateway = "http" or "modem" in [sms]')
        self._gateway = Gateway(environ, f"sms:{address}") if gateway == "http" else None
        self._folder = Path(environ.get("SLOPEWARD_SMS__MODEM", "var/modem"))

    def deliver(self, notification: Notification) -> str:
        """Send a text message and return its id; raise DeliveryError if provider or modem did not take it."""
        text = format_sms(notification)
        key = notification.idempotency_key
        if self._gateway is None:
            return put_message(self._folder, self._to, text, key)
        return self._gateway.post("Messages", {"To": self._to, "Body": text}, "sms", notification.id, key)


class VoiceNotifier:
    """Lets a provider call and speak the message. The digit 1 acknowledges if the page has a public address."""

    def __init__(self, address: str, environ: Mapping[str, str]) -> None:
        self._to = read_number(environ, address, "voice")
        if environ.get("SLOPEWARD_SMS__GATEWAY", "") != "http":
            raise ConfigError(f'channel voice:{address}: set gateway = "http" in [sms]; a modem makes no calls')
        self._gateway = Gateway(environ, f"voice:{address}")

    def deliver(self, notification: Notification) -> str:
        """Start a call and return its id; raise DeliveryError if the provider did not take it."""
        answer_at = ""
        if notification.id and notification.code:
            answer_at = self._gateway.find_callback(DIGIT, message=notification.id)
        speech = " ".join(_list_sentences(notification, [], LONGEST))
        form = {"To": self._to, "Twiml": write_call(speech, current_language(), answer_at)}
        return self._gateway.post("Calls", form, "voice", notification.id, notification.idempotency_key)


def format_sms(notification: Notification) -> str:
    """Return a text message of at most `LONGEST` characters.

    Its lines are the subject, what happened, what to do, the number of other alerts, how to acknowledge, and the link.
    If there is too little room, the link is left out first, then the sentences are shortened.
    """
    ending = []
    if notification.code:
        ending.append(gettext(HOW).format(code=notification.code, n=notification.alert_id))
    elif notification.alert_id > 0 and notification.level > 0:
        ending.append(gettext(ON_PAGE).format(n=notification.alert_id))
    if notification.link and len("\n".join([*ending, notification.link])) <= LONGEST - _SUBJECT_LENGTH:
        ending.append(notification.link)
    return "\n".join(_list_sentences(notification, ending, LONGEST))


def _list_sentences(notification: Notification, ending: list[str], most: int) -> list[str]:
    """Return the lines of a text message or call with at most `most` characters, including the separators."""
    subject = shorten(_to_line(notification.subject), min(_SUBJECT_LENGTH, most))
    # The body lists the other alerts, but a text message or call has no room for it.
    others = [gettext(OTHERS).format(count=notification.others)] if notification.others else []
    what_happened = _to_line(notification.body.partition("\n")[0])
    action = _to_line(notification.action)
    room = most - len("\n".join([subject, *others, *ending]))
    to_do: list[str] = []
    if action and action not in subject:
        to_do = _fit(gettext(TO_DO).format(action=action), room)
        room -= sum(len(line) + 1 for line in to_do)
    happened: list[str] = []
    if what_happened and what_happened not in subject:
        happened = _fit(what_happened, room)
    return [subject, *happened, *to_do, *others, *ending]


def _fit(text: str, room: int) -> list[str]:
    """Return a text in a list, shortened to the room after a separator; an empty list if the room is too small."""
    if len(text) < room:
        return [text]
    return [shorten(text, room - 1)] if room > _SHORTEST else []


def _to_line(text: str) -> str:
    return " ".join(text.split())


def read_number(environ: Mapping[str, str], name: str, channel_kind: str) -> str:
    """Return the telephone number in an environment variable, without spaces and marks."""
    number = tidy_number(read_secret(environ, name, channel_kind))
    if not number:
        raise ConfigError(f"channel {channel_kind}:{name}: {name} is no number such as +41791234567")
    return number


def make_reply_code(
    c: Connection, message: Notification, person: str, language: str, environ: Mapping[str, str], now: datetime
) -> str:
    """Return the code of a reply that acknowledges a message in the name of a person; the reply is in the language."""
    kind, address = split_channel(message.channel)
    good_for = timedelta(seconds=float(environ.get("SLOPEWARD_SMS__REPLY_FOR_S", GOOD_FOR_S)))
    return make_code(c, message, read_number(environ, address, kind), person, language, now, good_for)
