"""Compare the alarms of a site with those of another system that watches the same slope.

Alarms of both systems that belong together form an episode. An alarm belongs to an episode if it lies within a time
window of any alarm of the episode, so that an episode lasts from its first alarm to its last one. The comparison is
symmetrical: neither system is the reference.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from monitor.text.instants import format_iso

# Alarms with a smaller gap belong to one episode, unless a person names another window.
DEFAULT_WINDOW_S: Final = 86400.0


class Verdict(StrEnum):
    """What people recorded about an episode."""

    TRUE = "true"
    FALSE = "false"
    # Records of different people differ.
    CONTRADICTORY = "contradictory"
    NOT_RECORDED = "not recorded"


@dataclass(frozen=True, slots=True)
class SystemAlarm:
    """An alarm of one of the two systems.

    Attributes:
        to_at: Its end; equal to `at` if only its begin is known, None if it lasts.
        number: Number of the alert, or of the alarm of the other system.
        level: Highest level, as the system names it; empty if unknown.
        station: Empty if the alarm belongs to no single station.
        outcome: Newest outcome that a person recorded, such as `true` or `false_weather`; None if nobody did.
    """

    at: datetime
    to_at: datetime | None
    number: int
    level: str = ""
    station: str = ""
    text: str = ""
    outcome: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "at": format_iso(self.at),
            "to": None if self.to_at is None else format_iso(self.to_at),
            "number": self.number,
            "level": self.level,
            "station": self.station,
            "text": self.text,
            "outcome": self.outcome,
        }


@dataclass(slots=True)
class Episode:
    """Alarms that belong together, each list oldest first.

    Attributes:
        own: Alarms of Slopeward.
        other: Alarms of the other system.
    """

    own: list[SystemAlarm] = field(default_factory=list)
    other: list[SystemAlarm] = field(default_factory=list)

    @property
    def from_at(self) -> datetime:
        """The first alarm of either system."""
        return min(alarm.at for alarm in (*self.own, *self.other))

    @property
    def lead_s(self) -> float | None:
        """How much earlier Slopeward raised its first alarm, in seconds; negative if it raised it later.

        None if only one of the systems raised an alarm.
        """
        if not self.own or not self.other:
            return None
        return (self.other[0].at - self.own[0].at).total_seconds()

    @property
    def verdict(self) -> Verdict:
        """What people recorded about the alarms of the episode.

        The outcomes `unknown` and `drill` say nothing about the slope.
        """
        outcomes = {alarm.outcome for alarm in (*self.own, *self.other) if alarm.outcome is not None}
        is_true = "true" in outcomes
        is_false = any(outcome.startswith("false") for outcome in outcomes)
        if is_true and is_false:
            return Verdict.CONTRADICTORY
        if is_true:
            return Verdict.TRUE
        return Verdict.FALSE if is_false else Verdict.NOT_RECORDED

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "from": format_iso(self.from_at),
            "own": [alarm.to_json() for alarm in self.own],
            "other": [alarm.to_json() for alarm in self.other],
            "lead_s": self.lead_s,
            "verdict": str(self.verdict),
        }


def group_alarms(
    own: Iterable[SystemAlarm], other: Iterable[SystemAlarm], window_s: float = DEFAULT_WINDOW_S
) -> list[Episode]:
    """Group the alarms of both systems into episodes, the oldest first.

    Args:
        own: Alarms of Slopeward.
        other: Alarms of the other system.
        window_s: An alarm that starts at most this long after the end of the alarms before belongs to their episode.

    >>> from datetime import UTC
    >>> day = datetime(2026, 3, 1, tzinfo=UTC)
    >>> def alarm(hours, last_h=0):
    ...     return SystemAlarm(day + timedelta(hours=hours), day + timedelta(hours=hours + last_h), 1)
    >>> episodes = group_alarms([alarm(0, 30), alarm(100)], [alarm(36), alarm(300)], 12 * 3600.0)
    >>> [(len(episode.own), len(episode.other), episode.lead_s) for episode in episodes]
    [(1, 1, 129600.0), (1, 0, None), (0, 1, None)]
    """
    window = timedelta(seconds=window_s)
    alarms = [(alarm, True) for alarm in own] + [(alarm, False) for alarm in other]
    alarms.sort(key=lambda entry: (entry[0].at, not entry[1]))
    episodes: list[Episode] = []
    # The end of the alarms so far; None if one of them lasts.
    end: datetime | None = None
    for alarm, is_own in alarms:
        if not episodes or (end is not None and alarm.at - end > window):
            episodes.append(Episode())
            end = alarm.to_at
        elif end is not None:
            end = None if alarm.to_at is None else max(end, alarm.to_at)
        (episodes[-1].own if is_own else episodes[-1].other).append(alarm)
    return episodes


def count_false(episodes: Sequence[Episode], *, own: bool) -> tuple[int, int]:
    """Return how many episodes with an alarm of one system people recorded as false, and about how many they recorded.

    Args:
        episodes: The episodes of both systems.
        own: True for Slopeward, False for the other system.
    """
    verdicts = [episode.verdict for episode in episodes if (episode.own if own else episode.other)]
    recorded = [verdict for verdict in verdicts if verdict in {Verdict.TRUE, Verdict.FALSE}]
    return recorded.count(Verdict.FALSE), len(recorded)
