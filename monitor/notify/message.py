"""A message in the language of its recipient: stored in English, subject and body are translated when they go out."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from monitor.domain.alert import Notification
from monitor.domain.site import Recipient
from monitor.language.catalogue import ENGLISH, use
from monitor.language.sayings import say
from monitor.notify.notifier import Notifier, split_channel
from monitor.store.alerting.alerts import shorten

_LOG = logging.getLogger(__name__)
CUT: Final = " …"
DRILL: Final = "EXERCISE: this is a drill, nothing has happened. "
LOG: Final = "log"  # lines of the log are English, whoever reads them


def find_language(recipients: Iterable[Recipient], name: str, default: str) -> str:
    """The language of a recipient, by name; the default where he has none, or nobody knows him any more."""
    return next((r.language for r in recipients if r.name == name and r.language), default)


def deliver_in(language: str, notifier: Notifier, notification: Notification) -> None:
    """Deliver in a language; raises what the notifier raises, and nothing because of a translation."""
    wanted = ENGLISH if split_channel(notification.channel)[0] == LOG else language
    with use(wanted):
        notifier.deliver(translate(notification, wanted))


def translate(notification: Notification, language: str) -> Notification:
    """The same message in another language; in English where that fails: no alarm waits for a translation."""
    if language == ENGLISH:
        return notification
    try:
        body = str(say(notification.body, language))
        return replace(notification, subject=_say_subject(notification, language), body=body)
    except Exception:  # people read English rather than nothing
        _LOG.exception("message %d could not be translated; it goes out in English", notification.id)
        return notification


def _say_subject(notification: Notification, language: str) -> str:
    """The subject, cut anew where it was cut: a sentence is recognised whole."""
    subject = notification.subject
    if not subject.endswith(CUT):
        return shorten(str(say(subject, language)))
    reason = notification.body.partition("\n")[0].removeprefix(DRILL)
    head = find_head(subject.removesuffix(CUT), reason)
    return shorten(str(say(subject if head is None else head + reason, language)))


def find_head(cut: str, reason: str) -> str | None:
    """What stands before a reason of which only the beginning is left; None where it is another one.

    >>> find_head("[pit 4] RED: G1: velocity 62 mm/day", "G1: velocity 62 mm/day in 6h, over 30 mm/day")
    '[pit 4] RED: '
    """
    places = (i for i in range(len(cut)) if cut[i : i + 1] == reason[:1] and reason.startswith(cut[i:]))
    at = next(places, None)
    return None if at is None else cut[:at]
