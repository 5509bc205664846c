"""What a message says, in English and UTC, before it is put into the language and zone of its recipient.

The subject fits the lock screen of a telephone once it is delivered (`monitor.language.subjects`):
`RED Nordhang: close the road. 302 mm/day, 5 stations. 20:34`. The body has one fact a line: what, where, since when,
what to do, how sure, what next, who else was notified, why.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from monitor.domain.alert import AlertChange, Ledger
from monitor.domain.causes import say_cause
from monitor.domain.headline import find_headline, find_outlook, find_sight, name_of
from monitor.domain.instants import spell
from monitor.domain.site import Site

EXERCISE: Final = "EXERCISE: "  # stands before every reason of a drill
DRILL: Final = f"{EXERCISE}this is a drill, nothing has happened. "
COVERED: Final = "- "  # begins a line with the subject of a message that another one stands for
HEALTH_NAMES: Final = {0: "clear", 1: "notice", 2: "urgent"}
SERVICE_TITLE: Final = "Slopeward service"
Found = TypeVar("Found")
_ESSENCE: Final = re.compile(r"^([^:]+: )(.*)(\. \d{4}-\d\d-\d\dT\d\d:\d\dZ)$", re.DOTALL)


def name_level(names: Sequence[str], ledger: str, level: int) -> str:
    """The word for a level: of the site's own names, lowest first, for hazard; notice and urgent elsewhere.

    >>> name_level(("green", "red"), "hazard", 1), name_level((), "health", 2)
    ('red', 'urgent')
    """
    if ledger == Ledger.HAZARD and names:
        return names[level] if 0 <= level < len(names) else str(level)
    return HEALTH_NAMES.get(level, str(level))


def write_message(
    site_id: str, site: Site | None, change: AlertChange, level: int, name: str, alert_id: int, *, before: int,
    now: datetime, frozen: Mapping[str, Any], recipients: Sequence[str], exercise: bool,
) -> tuple[str, str]:  # fmt: skip
    """Subject and body of a change.

    Args:
        site_id: of the alert.
        site: the declaration; None for an alert of the service itself.
        change: what the decision ordered.
        level: after it.
        name: of that level.
        alert_id: the alert.
        before: the level before it.
        now: the instant of the change.
        frozen: inputs and outcome of the decision; empty where there are none.
        recipients: who is notified of it.
        exercise: of a drill.
    """
    is_hazard = change.ledger == Ledger.HAZARD
    reason = change.reason.removeprefix(EXERCISE)
    headline = _find_safely(lambda: find_headline(frozen, site, level)) if is_hazard else None
    action = next((known.action for known in site.levels if known.number == level), "") if site and is_hazard else ""
    former = (name_of(site, before) if site else str(before)) if is_hazard and before else ""
    said = headline.sentence if headline else reason.removeprefix(f"{name}: ")
    essence = f"down from {former}" if former and 0 < level < before else headline.short if headline else said
    what = name.upper() if is_hazard else f"{str(change.ledger).capitalize()} {name}"
    title = site.name if site else SERVICE_TITLE
    facts = ". ".join(part.rstrip(".") for part in (action if level else "", essence) if part)
    subject = f"{'EXERCISE ' if exercise else ''}{what} {title}: {facts}. {_minute(now)}"
    lines = [f"{DRILL if exercise else ''}{said}"]
    lines += [f"Where: {_say_place(site)}"] if site else []
    lines.append(f"Since {_minute(now)}, before that the level was {former}" if former else f"Since {_minute(now)}")
    lines += [f"Action: {action}"] if action else []
    if is_hazard and level:
        lines += [f"How sure: {sight}" for sight in _find_safely(lambda: find_sight(frozen, site)) or ()]
        lines += [f"Next: {outlook}" for outlook in _find_safely(lambda: find_outlook(frozen, now)) or ()]
    if change.data_time is not None:
        lines.append(f"Newest datum used: {spell(change.data_time)}")
    lines += [f"Notified: {', '.join(recipients)}"] if len(recipients) > 1 else []
    lines += [f"Why: {reason}"] if reason != said else []
    lines.append(f"Alert {alert_id}, site {site_id}. Why: slopeward alerts explain {alert_id}")
    return subject, "\n".join(lines)


def _find_safely(find: Callable[[], Found]) -> Found | None:
    """What evidence shows, or nothing: no alarm waits for evidence of an odd form."""
    try:
        return find()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None


def _minute(at: datetime) -> str:
    return f"{spell(at)[:16]}Z"


def _say_place(site: Site) -> str:
    return f"{site.name} ({site.latitude:.4f}°, {site.longitude:.4f}°)"


def mark_exercise(subject: str) -> str:
    """The subject of a drill, which says so once.

    >>> mark_exercise("RED pit: x"), mark_exercise("EXERCISE RED pit: x")
    ('EXERCISE: RED pit: x', 'EXERCISE RED pit: x')
    """
    return subject if "exercise" in subject.lower() else f"{EXERCISE}{subject}"


def mark_delayed(subject: str) -> str:
    """The subject of an old message that a newer one of its alert has overtaken.

    >>> mark_delayed("RED pit: x")
    'DELAYED: RED pit: x'
    """
    return f"DELAYED: {subject}"


def say_delay(queued_at: datetime, newer_level: str, newer_at: datetime) -> str:
    """What an old message says of itself when a newer one went out before it."""
    return (
        f"Delayed: this message is of {queued_at:%Y-%m-%d %H:%M} UTC. A newer one (level {newer_level}, "
        f"{newer_at:%Y-%m-%d %H:%M} UTC) has been sent already and says what holds now."
    )


def say_together(subject: str, keys: Sequence[str]) -> str:
    """The subject of several suggestions of one cause, from the subject of one of them.

    >>> keys = ["advice:anomaly:G1", "advice:anomaly:G2"]
    >>> say_together("Advice notice pit: G1: odd. 2026-03-01T06:00Z", keys)
    'Advice notice pit: 2 suggestions of anomaly: G1, G2. 2026-03-01T06:00Z'
    """
    return _ESSENCE.sub(lambda found: f"{found[1]}{say_cause(keys)}{found[3]}", subject)


def list_covered(subjects: Iterable[tuple[datetime, str]]) -> str:
    """What a message says of those that it stands for."""
    lines = (f"{COVERED}{at:%Y-%m-%d %H:%M} UTC: {subject}" for at, subject in subjects)
    return "Also happened (not sent separately):\n" + "\n".join(lines)
