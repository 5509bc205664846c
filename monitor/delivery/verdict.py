"""What a stage may say about a waiting message, and what it may look at: the vocabulary of the notification path."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from monitor.delivery.queries.outbox import QueuedMessage
from monitor.sites.quiet_hours import QuietHours


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another message stands for this one."""

    id: int
    by: int


@dataclass(frozen=True, slots=True)
class Postponed:
    """Not now: look again at `until`."""

    id: int
    until: datetime
    why: str


Verdict = Superseded | Postponed


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """Bounds of the path; none of them touches an urgent message."""

    group_wait_s: float = 5.0  # health and advice wait so long for company
    sends_per_hour: int = 60  # of one channel
    shelved_recheck_s: float = 60.0
    escalation_rounds: int = 3  # repeats to the same person below the two highest levels
    unconfirmed_after_s: float = 600.0  # that nobody confirmed is an alarm so long after all were notified
    unreached_after_s: float = 60.0  # an urgent alert of which no message was taken by then has reached nobody
    unconfirmed_again_s: float = 600.0  # that nobody confirmed an urgent alert is told again to all so often


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """All a stage knows besides the messages."""

    now: datetime
    sent_last_hour: int
    limits: DeliveryLimits = DeliveryLimits()
    find_quiet: Callable[[str, str], QuietHours | None] = lambda _site, _recipient: None
    # messages within a day of alarms of health that are not urgent, by site, key and recipient
    sent_last_day: Mapping[tuple[str, str, str], int] = field(default_factory=dict)


Stage = Callable[[Sequence[QueuedMessage], DeliveryContext], list[Verdict]]
