"""A message in the language of its recipient and the zone of its site, which it gets when it goes out."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, cast

from monitor.alerts.notification import Notification
from monitor.decision.alert_texts import COVERED, split_lines
from monitor.decision.subjects import LONGEST, translate_subject
from monitor.delivery.notifier import Notifier
from monitor.sites.channels import find_channel_traits
from monitor.sites.records import Recipient
from monitor.text.catalogue import ENGLISH, N_, gettext, use_language
from monitor.text.local_time import UNCHANGED, use_zone
from monitor.text.message import Message, join
from monitor.text.rendering import translate as translate_text

_LOG = logging.getLogger(__name__)
LINK: Final = N_("Look and acknowledge: {address}")
COVERED_LENGTH: Final = 160


def find_language(recipients: Iterable[Recipient], name: str, default: str) -> str:
    """The language of a recipient, by name; the default where he has none, or nobody knows him any more."""
    return next((r.language for r in recipients if r.name == name and r.language), default)


def deliver_in(
    language: str, notifier: Notifier, notification: Notification, *, page_url: str = "", zone: str = "UTC"
) -> str | None:
    """Deliver in a language and a zone; raises what the notifier raises, nothing of a translation.

    Args:
        page_url: where people reach the page, without a slash at the end; with one the message links to its alert.
        zone: of the site.
    """
    is_log = find_channel_traits(notification.channel).is_english
    with use_language(ENGLISH if is_log else language), use_zone(UNCHANGED if is_log else zone):
        translated = translate(notification)
        if page_url:
            address = f"{page_url}/alerts/{notification.alert_id}"
            translated = replace(
                translated, body=f"{translated.body}\n{gettext(LINK).format(address=address)}", link=address
            )
        return notifier.deliver(translated)


def translate(notification: Notification) -> Notification:
    """The same message in the language and zone in use; as stored where that fails: no alarm waits for it."""
    try:
        subject = translate_subject(notification.subject)
        lines = []
        for line in split_lines(notification.body):
            if isinstance(line, Message) and line.id == COVERED.id:  # the subject of a message that this one stands for
                covered = translate_subject(cast("str", line.values["text"]), COVERED_LENGTH)
                line = COVERED(at=line.values["at"], text=covered)  # noqa: PLW2901
            lines.append(str(translate_text(join([line]))))
        body = "\n".join(lines)
    except Exception:  # people read English rather than nothing
        _LOG.exception("message %d could not be translated; it goes out in English", notification.id)
        return replace(notification, subject=notification.subject[:LONGEST], body=str(notification.body))
    return replace(notification, subject=subject, body=body)
