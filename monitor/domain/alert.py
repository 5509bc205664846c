"""Alerts, their ledgers and states (ISA-18.2), and the notifications that carry them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from forecasting.message import Template
from monitor.domain.canonical import canonical_json
from monitor.domain.names import tidy_name


class AlertCategory(StrEnum):
    """Three ledgers that never mix: what the slope does, what the instruments do, what models suggest."""

    HAZARD = "hazard"
    HEALTH = "health"
    ADVICE = "advice"


class AlertState(StrEnum):
    """States of ISA-18.2, plus `closed` for history."""

    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned_unacknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"  # by design: work on its station explains it
    OUT_OF_SERVICE = "out_of_service"
    CLOSED = "closed"


class DeliveryState(StrEnum):
    """Where a notification stands in the outbox."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    CONFIRMED = "confirmed"
    FAILED_RETRY = "failed_retry"
    FAILED_FINAL = "failed_final"
    SUPERSEDED = "superseded"


OVER: Final = Template("condition.over", "over: {text}")  # around the reason of an alarm that has ended
URGENT_HEALTH: Final = 2  # the top route of health
# begins the key of the alarm that nobody confirmed an urgent alert: it goes to all at once, again and again
UNCONFIRMED: Final = "health:unconfirmed:"
# by which way a person acted
COMMAND: Final = "command"
PAGE: Final = "page"
TOKEN: Final = "token"  # noqa: S105 - a way, not a secret


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: `kind` is person, service, or program; the name is kept in tidy form."""

    name: str
    kind: str = "person"
    via: str | None = None  # by which way a person acted: `command`, `page`, `token`, `sms`, `voice`; None = by none
    os_user: str | None = None  # at a command: the user of the operating system, whoever the name is
    proof: str | None = None  # at a command: `password`, `os_user` or `token` proved the name; None = nothing did

    def __post_init__(self) -> None:
        """Write the name down as names are written down."""
        object.__setattr__(self, "name", tidy_name(self.name))


SERVICE = Actor("slopeward", "service")


@dataclass(frozen=True, slots=True)
class AlertChange:
    """One change of one alert as the decision orders it; the store turns it into rows."""

    ledger: AlertCategory
    key: str  # one open alert per (site, ledger, key): hazard; health:G1.displacement:stale; advice:anomaly:G1
    level: int  # hazard: ladder level; health and advice: 1 notice, 2 top route
    open: bool  # False = the condition is gone
    reason: str  # one sentence
    data_time: datetime | None
    evidence: str  # canonical JSON, frozen
    notify: bool = True
    repeats: bool = False  # the alert stands as it is, and people are reminded of it
    lines: tuple[str, ...] = ()  # what its message says first


def health_alarm(
    key: str, level: int, reason: str, *, is_open: bool, evidence: Mapping[str, Any] | None = None, notify: bool = True
) -> AlertChange:
    """A change of an alarm about the service or its instruments.

    Args:
        level: 1 = a notice, 2 = the top route; of one that is over it does not matter.
        evidence: facts to freeze; the reason alone where nothing is given.
    """
    facts = canonical_json({"reason": reason} if evidence is None else evidence)
    return AlertChange(AlertCategory.HEALTH, key, level, is_open, reason, data_time=None, evidence=facts, notify=notify)


def is_urgent(ledger: str, level: int, top_level: int | None) -> bool:
    """Whether nothing may hold this message back: the two highest hazard levels, and the top route of health.

    A hazard of a site whose ladder is unknown counts as urgent.

    >>> is_urgent("hazard", 2, 3), is_urgent("hazard", 1, 3), is_urgent("health", 2, None), is_urgent("advice", 2, 3)
    (True, False, True, False)
    """
    if ledger == "hazard":
        return top_level is None or (level >= max(top_level - 1, 1))
    return ledger == "health" and level >= URGENT_HEALTH


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to one recipient by one channel, leased from the outbox."""

    id: int
    alert_id: int
    event_id: int
    site: str
    ledger: str
    level: int
    level_name: str
    recipient: str
    channel: str  # kind:address
    exercise: bool
    subject: str
    body: str
    idempotency_key: str
    attempts: int
    queued_at: datetime
    document: str = ""  # what a channel of documents sends in place of subject and body
    link: str = ""  # of its alert on the page; empty where people have no address of it
    others: int = 0  # so many messages of other alerts it stands for; they are listed in its body
    code: str = ""  # by which its recipient acknowledges in a reply; empty where the channel takes none
    sounds_from: int | None = None  # of a siren: the lowest level that anybody of its site asked for; None = not known
    sounds_in_exercise: bool = False  # of a siren: an exercise sounds as well
