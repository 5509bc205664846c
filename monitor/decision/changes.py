"""Changes of alerts that a decision or a check of the service orders."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from monitor.canonical import canonical_json
from monitor.text.message import Template

OVER: Final = Template("condition.over", "over: {text}")  # around the reason of an alarm that has ended


class AlertCategory(StrEnum):
    """Three ledgers that never mix: what the slope does, what the instruments do, what models suggest."""

    HAZARD = "hazard"
    HEALTH = "health"
    ADVICE = "advice"


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
