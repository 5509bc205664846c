"""Changes of alerts that follow from a decision or from a check of the service."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from monitor.canonical import canonical_json
from monitor.text.message import LISTED, Message, Template, Value, join, list_parts

# Around the reason of an alarm that requires a person to check something at once.
VERIFY_NOW: Final = Template("question.verify", "verify now: {text}")
# Around the reason of an alarm that has ended.
RESOLVED: Final = Template("condition.resolved", "resolved: {text}")


class AlertCategory(StrEnum):
    """Category of an alert: motion of the slope, state of instruments and service, or suggestions of models."""

    HAZARD = "hazard"
    HEALTH = "health"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True)
class AlertChange:
    """A change of one alert, before it is stored.

    Attributes:
        ledger: The category of the alert.
        key: Such as `hazard`, `health:G1.displacement:stale` or `advice:anomaly:G1`. There is one open alert for each
            site, category and key.
        level: For hazard, the level of the site; for health and advice, 1 is a notice and 2 is urgent.
        open: False if the condition is over.
        reason: One sentence.
        data_time: The newest datum that the decision used.
        evidence: Facts to store, as canonical JSON.
        repeats: Whether the alert has not changed and people are reminded of it.
        lines: First lines of the message, after the sentence.
    """

    ledger: AlertCategory
    key: str
    level: int
    open: bool
    reason: str
    data_time: datetime | None
    evidence: str
    notify: bool = True
    repeats: bool = False
    lines: tuple[str, ...] = ()


def health_alarm(
    key: str, level: int, reason: str, *, is_open: bool, evidence: Mapping[str, Any] | None = None, notify: bool = True
) -> AlertChange:
    """Return a change of an alarm about the service or its instruments.

    Args:
        level: 1 for a notice, 2 for an urgent message; without effect for an alarm that is over.
        evidence: Facts to store; by default the reason alone.
    """
    facts = canonical_json({"reason": reason} if evidence is None else evidence)
    return AlertChange(AlertCategory.HEALTH, key, level, is_open, reason, data_time=None, evidence=facts, notify=notify)


def get_first_fact(reason: Message) -> Message:
    """Return the first fact of the text of a condition, without its consequences and without what people should do."""
    fact: Value = reason.values["text"] if reason.id == VERIFY_NOW.id else reason
    while isinstance(fact, Message) and fact.id == LISTED.id:
        fact = list_parts(fact)[0]
    return fact if isinstance(fact, Message) else join([fact])
