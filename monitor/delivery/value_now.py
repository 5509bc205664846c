"""What a level rests on now, beside what it was raised on: page, overview, API and reminders say it the same way."""

import logging
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.queries.alerts import find_alert, find_raised
from monitor.alerts.queries.evaluations import find_state, load_rates
from monitor.alerts.records import UNCONFIRMED
from monitor.decision.alert_texts import describe_present_and_raised, renew_body
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.headline import Headline, find_motion_headline, name_site_level
from monitor.decision.records import Memory
from monitor.decision.subjects import compare_essence, find_first_fact, renew_subject
from monitor.delivery.declarations import find_declaration
from monitor.delivery.queries.outbox import OpenAlert
from monitor.sites.queries.sites import find_version
from monitor.text.message import LABELLED_TEXT, Message, Template, Term

_LOG: Final = logging.getLogger(__name__)
_ASKING: Final = Template("headline.now.several", "{text}; {n} stations request {level}")
_ONE_ASKS: Final = Template("headline.now.single", "{text}; 1 station requests {level}")
_NOBODY: Final = Template("headline.now.none", "no station requests {level}")


def find_now(c: Connection, site_id: str, level: int) -> Headline | None:
    """What a level of a site rests on by its newest decision; None where there is none.

    How many stations ask for it and how fast the fastest moves; where none of them measures a rate, what one says.
    """
    row, site = find_state(c, site_id), find_declaration(c, find_version(c, site_id) or "")
    if row is None or site is None or not level:
        return None
    if (found := find_motion_headline(load_rates(c, site_id), site, level)) is not None:
        return found
    name = Term(name_site_level(site, level))
    asking = {k: v for k, v in Memory.read(row.state).votes.items() if v.level >= level}
    if not asking:
        return Headline(_NOBODY(level=name), _NOBODY(level=name))
    key = max(asking, key=lambda k: (asking[k].level, k))
    first = LABELLED_TEXT(name=key.station, text=find_first_fact(asking[key].reason))
    stations = {k.station for k in asking}
    count = len(stations)
    sentence = _ONE_ASKS(text=first, level=name) if count == 1 else _ASKING(text=first, n=count, level=name)
    return Headline(sentence, first, tuple(sorted(stations)))


def compare(c: Connection, alert_id: int, now: datetime) -> tuple[tuple[Message, ...], str]:
    """The lines of both values of an alert, and figures for its subject; none of a drill, or where none is known."""
    alert = find_alert(c, alert_id)
    if alert is None or alert.ledger != AlertCategory.HAZARD or alert.exercise:
        return (), ""
    try:
        found = find_now(c, alert.site, alert.level)
        raised = find_raised(c, alert_id, find_declaration(c, find_version(c, alert.site) or ""))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):  # no alarm waits for a memory of an odd form
        _LOG.exception("alert %d: its value of now", alert_id)
        return (), ""
    if found is None:
        return (), ""
    return describe_present_and_raised(found.sentence, raised.sentence, now), compare_essence(found.short, raised.short)


def add_values(c: Connection, change: AlertChange, now: datetime) -> AlertChange:
    """The alarm that nobody confirmed an alert, with both values of that; any other change as it is."""
    root = find_root(change.key) if change.open else None
    return change if root is None else replace(change, lines=compare(c, root, now)[0])


def renew(c: Connection, alert: OpenAlert, subject: str, now: datetime) -> tuple[str, str]:
    """Subject and body of a message that repeats an alert, with both values; such an alarm says those of its alert."""
    lines, essence = compare(c, find_root(alert.key) or alert.alert_id, now)
    if not lines:
        return subject, alert.body
    return (
        subject if alert.insists else renew_subject(subject, essence, now),
        renew_body(alert.body, lines, keeps_first=alert.insists),
    )


def find_root(key: str) -> int | None:
    """The alert that nobody confirmed, by the key of the alarm about it."""
    return int(key.removeprefix(UNCONFIRMED)) if key.startswith(UNCONFIRMED) else None
