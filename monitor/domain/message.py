"""What a message says, in English, before it is put into the language of its recipient."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from monitor.domain.alert import AlertChange, Ledger
from monitor.domain.causes import say_cause
from monitor.domain.instants import spell
from monitor.domain.site import Site

EXERCISE: Final = "EXERCISE: "  # stands before every reason of a drill
DRILL: Final = f"{EXERCISE}this is a drill, nothing has happened. "
COVERED: Final = "- "  # begins a line with the subject of a message that another one stands for
HEALTH_NAMES: Final = {0: "clear", 1: "notice", 2: "urgent"}
SERVICE_TITLE: Final = "Slopeward service"


def name_level(names: Sequence[str], ledger: str, level: int) -> str:
    """The word for a level: of the site's own names, lowest first, for hazard; notice and urgent elsewhere.

    >>> name_level(("green", "red"), "hazard", 1), name_level((), "health", 2)
    ('red', 'urgent')
    """
    if ledger == Ledger.HAZARD and names:
        return names[level] if 0 <= level < len(names) else str(level)
    return HEALTH_NAMES.get(level, str(level))


def write_message(
    site_id: str, site: Site | None, change: AlertChange, level: int, name: str, alert_id: int, *, exercise: bool
) -> tuple[str, str]:
    """Subject and body of a change to a level of this name; `site` is None for an alert of the service itself."""
    title = site.name if site else SERVICE_TITLE
    head = "EXERCISE " if exercise else ""
    what = name.upper() if change.ledger == Ledger.HAZARD else f"{change.ledger} {name}"
    action = next((known.action for known in site.levels if known.number == level), "") if site else ""
    reason = change.reason.removeprefix(EXERCISE)
    lines = [f"{DRILL}{reason}" if exercise else reason]
    if change.ledger == Ledger.HAZARD and action:
        lines.append(f"Action: {action}")
    if change.data_time is not None:
        lines.append(f"Newest datum used: {spell(change.data_time)}")
    lines.append(f"Alert {alert_id}, site {site_id}. Why: slopeward alerts explain {alert_id}")
    return f"{head}[{title}] {what}: {reason}", "\n".join(lines)


def mark_exercise(subject: str) -> str:
    """The subject of a drill, which says so once.

    >>> mark_exercise("[pit] RED"), mark_exercise("EXERCISE [pit] RED")
    ('EXERCISE: [pit] RED', 'EXERCISE [pit] RED')
    """
    return subject if "exercise" in subject.lower() else f"{EXERCISE}{subject}"


def say_delay(queued_at: datetime, newer_level: str, newer_at: datetime) -> str:
    """What an old message says of itself when a newer one went out before it."""
    return (
        f"Delayed: this message is of {queued_at:%Y-%m-%d %H:%M} UTC. A newer one (level {newer_level}, "
        f"{newer_at:%Y-%m-%d %H:%M} UTC) has been sent already and says what holds now."
    )


def say_together(subject: str, body: str, keys: Sequence[str]) -> str:
    r"""The subject of several suggestions of one cause, from the subject and body of one of them.

    >>> say_together("[pit] advice notice: G1: odd", "G1: odd\nAlert 3", ["advice:anomaly:G1", "advice:anomaly:G2"])
    '[pit] advice notice: 2 suggestions of anomaly: G1, G2'
    """
    reason = body.partition("\n")[0].removeprefix(DRILL)
    return f"{subject.removesuffix(reason)}{say_cause(keys)}"


def list_covered(subjects: Iterable[tuple[datetime, str]]) -> str:
    """What a message says of those that it stands for."""
    lines = (f"{COVERED}{at:%Y-%m-%d %H:%M} UTC: {subject}" for at, subject in subjects)
    return "Also happened (not sent separately):\n" + "\n".join(lines)
