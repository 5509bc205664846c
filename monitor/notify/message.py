"""A message in the language of its recipient: stored in English, subject and body are translated when they go out."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from monitor.domain.alert import Notification
from monitor.domain.message import COVERED, DRILL
from monitor.domain.site import Recipient
from monitor.language.catalogue import ENGLISH, N_, gettext, use
from monitor.language.sayings import NOTHING_KEPT, Kept, say
from monitor.notify.cutting import SUBJECT_LENGTH, shorten
from monitor.notify.notifier import Notifier, split_channel

_LOG = logging.getLogger(__name__)
LINK: Final = N_("Look and acknowledge: {address}")
LOG: Final = "log"  # lines of the log are English, whoever reads them


def find_language(recipients: Iterable[Recipient], name: str, default: str) -> str:
    """The language of a recipient, by name; the default where he has none, or nobody knows him any more."""
    return next((r.language for r in recipients if r.name == name and r.language), default)


def deliver_in(
    language: str, notifier: Notifier, notification: Notification, kept: Kept = NOTHING_KEPT, *, page_url: str = ""
) -> str | None:
    """Deliver in a language, but for the names in `kept`; raises what the notifier raises, nothing of a translation.

    Args:
        language: of the recipient.
        notifier: the channel.
        notification: as it is stored, in English.
        kept: names that stay as they are.
        page_url: where people reach the page, without a slash at the end; with one the message links to its alert.
    """
    wanted = ENGLISH if split_channel(notification.channel)[0] == LOG else language
    with use(wanted, kept):
        said = translate(notification, wanted)
        if page_url:
            address = f"{page_url}/alerts/{notification.alert_id}"
            said = replace(said, body=f"{said.body}\n{gettext(LINK).format(address=address)}", link=address)
        return notifier.deliver(said)


def translate(notification: Notification, language: str) -> Notification:
    """The same message in another language; in English where that fails: no alarm waits for a translation."""
    try:
        return _translate(notification, language)
    except Exception:  # people read English rather than nothing
        _LOG.exception("message %d could not be translated; it goes out in English", notification.id)
        return replace(notification, subject=notification.subject[:SUBJECT_LENGTH])


def _translate(notification: Notification, language: str) -> Notification:
    """Subject and body, each line by itself; subjects are cut when they are translated, for a part is no sentence."""
    first, *others = notification.body.split("\n")
    lines = [str(say(first, language))]
    for line in others:
        said = str(say(line, language))
        lines.append(shorten(said) if line.startswith(COVERED) else said)
    subject = str(say(notification.subject, language))
    reason = first.removeprefix(DRILL)
    said_reason = str(say(reason, language))
    is_whole = notification.subject.endswith(reason) and subject.endswith(said_reason)
    head = subject.removesuffix(said_reason) if is_whole else ""
    return replace(notification, subject=shorten(subject, head=head), body="\n".join(lines))
