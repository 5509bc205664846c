"""Render a message in the language of its recipient and the time zone of its site, when it is sent."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, cast

from monitor.alerts.notification import Notification
from monitor.decision.alert_texts import ACTION, COVERED, split_lines
from monitor.decision.subjects import LONGEST, translate_subject
from monitor.delivery.notifier import Notifier
from monitor.sites.channels import find_channel_traits
from monitor.sites.records import Recipient
from monitor.text.catalogue import ENGLISH, N_, gettext, use_language
from monitor.text.local_time import UNCHANGED, use_zone
from monitor.text.message import Message, join
from monitor.text.rendering import translate as translate_text

_LOG = logging.getLogger(__name__)
LINK: Final = N_("View and acknowledge: {address}")
# Ends a message without a link. The number is that of the alert.
ACKNOWLEDGE: Final = N_("Acknowledge it on the page, or run: slopeward ack {n} --by NAME --reason TEXT")
# Largest number of characters of the subject of a replaced message, which the body lists.
COVERED_LENGTH: Final = 160


def find_language(recipients: Iterable[Recipient], name: str, default: str) -> str:
    """Return the language of a recipient; the default if the recipient has none or is no longer declared."""
    languages = (recipient.language for recipient in recipients if recipient.name == name and recipient.language)
    return next(languages, default)


def deliver_in(
    language: str, notifier: Notifier, notification: Notification, *, page_url: str = "", zone: str = "UTC"
) -> str | None:
    """Render a message and deliver it. The result and the exceptions are those of the notifier.

    Args:
        page_url: Address of the page, see `add_acknowledgement`.
        zone: Time zone of the site.
    """
    is_english = find_channel_traits(notification.channel).is_english
    with use_language(ENGLISH if is_english else language), use_zone(UNCHANGED if is_english else zone):
        # The log contains sites of several zones, so its times name their zone.
        translated = translate(notification, names_zone=is_english)
        return notifier.deliver(add_acknowledgement(translated, page_url))


def add_acknowledgement(notification: Notification, page_url: str) -> Notification:
    """Return a translated message whose last line states how to acknowledge its alert.

    Args:
        page_url: Address of the page without a slash at the end. If given, the line is a link to the alert. Otherwise
            the line names the command, unless the alert has ended or the message is about no alert.
    """
    if page_url:
        address = f"{page_url}/alerts/{notification.alert_id}"
        line = gettext(LINK).format(address=address)
        return replace(notification, body=f"{notification.body}\n{line}", link=address)
    if notification.alert_id <= 0 or notification.level <= 0:
        return notification
    line = gettext(ACKNOWLEDGE).format(n=notification.alert_id)
    return replace(notification, body=f"{notification.body}\n{line}")


def translate(notification: Notification, *, names_zone: bool = False) -> Notification:
    """Return a message in the language and time zone in use, or in English if it cannot be translated.

    Args:
        names_zone: Whether the time in the subject names its zone.
    """
    try:
        subject = translate_subject(notification.subject, names_zone=names_zone)
        lines = split_lines(notification.body)
        body = "\n".join(_translate_line(line) for line in lines)
        actions = [line.values["action"] for line in lines if isinstance(line, Message) and line.id == ACTION.id]
    except Exception:  # an English message is better than none
        _LOG.exception("message %d could not be translated; it is sent in English", notification.id)
        return replace(notification, subject=notification.subject[:LONGEST], body=str(notification.body))
    return replace(notification, subject=subject, body=body, action=str(actions[0]) if actions else "")


def _translate_line(line: object) -> str:
    # The line of a replaced message contains its subject.
    if isinstance(line, Message) and line.id == COVERED.id:
        covered = translate_subject(cast("str", line.values["text"]), COVERED_LENGTH)
        line = COVERED(at=line.values["at"], text=covered)
    return str(translate_text(join([cast("str", line)])))
