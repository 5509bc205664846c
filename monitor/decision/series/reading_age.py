"""Determine at the instant of display whether a series is ok, late or silent, and whether its values are current.

Decisions use the limit of silence only (`monitor.decision.series.station_health`), because a level must not change when
one reading is missing. Pages, `slopeward status`, messages and the HTTP API use this module as well, so that a value
from an hour ago is never shown as the present motion.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from monitor.decision.series.intervals import (
    INTERVAL_TOLERANCE,
    MIN_BATCH_INTERVALS,
    find_interval_s,
    find_silence_s,
    list_receptions,
)
from monitor.sites.records import SeriesSpec

# A series is late if nothing has been received for this number of its usual intervals.
LATE_INTERVALS: Final = 1.5
# A value is current until its reading is older than this number of usual intervals of its series.
CURRENT_INTERVALS: Final = 2.0
# A series that is read more often than declared, with more longer pauses than this between its newest readings, is
# measured in bursts. Its usual interval is the declared one.
MAX_PAUSES: Final = 1


class SeriesPace(NamedTuple):
    """How often a series is measured and received, and its newest reading.

    Attributes:
        observed_at: Epoch of the newest reading, at most its reception.
        received_at: When the newest reading was received.
        interval_s: Usual interval between readings or between receptions, whichever is longer.
        silence_s: The series is silent if its newest epoch is older than this.
        is_regular: Whether a reading is due after each interval. False for gauges that send one message per tip.
    """

    observed_at: datetime
    received_at: datetime
    interval_s: float
    silence_s: float
    is_regular: bool = True

    def find_state(self, now: datetime) -> str:
        """Return `ok`, `late` or `silent`."""
        if (now - self.observed_at).total_seconds() > self.silence_s:
            return "silent"
        waited_s = (now - max(self.observed_at, self.received_at)).total_seconds()
        if self.is_regular and waited_s > LATE_INTERVALS * self.interval_s:
            return "late"
        return "ok"

    def find_missing_since(self, state: str) -> datetime:
        """Return since when the series is in a state, `late` or `silent`."""
        if state == "silent":
            return self.observed_at + timedelta(seconds=self.silence_s)
        return max(self.observed_at, self.received_at) + timedelta(seconds=LATE_INTERVALS * self.interval_s)

    def is_current(self, at: datetime, now: datetime) -> bool:
        """Return whether a value computed from readings up to `at` may be called the present value."""
        return (now - at).total_seconds() <= CURRENT_INTERVALS * self.interval_s


def find_usual_interval_s(times_s: Sequence[float], receptions_s: Sequence[float], declared_s: float) -> float:
    """Return the usual interval between readings, or between receptions if it is longer, in seconds.

    Args:
        times_s: Epochs of the newest readings, oldest first.
        receptions_s: Instants of the newest receptions, oldest first.
        declared_s: The declared interval. It counts if the readings are too few to show another one, or if they are
            read more often than declared, but not at one interval.

    >>> find_usual_interval_s([i * 600.0 for i in range(9)], [], 3600.0)
    600.0
    >>> find_usual_interval_s([0.0, 60.0, 120.0, 3600.0, 3660.0, 3720.0, 7200.0], [], 3600.0)
    3600.0
    >>> find_usual_interval_s([i * 600.0 for i in range(9)], [0.0, 3600.0, 7200.0], 600.0)
    3600.0
    """
    shown_s = find_interval_s(times_s, declared_s)
    if shown_s < declared_s and not _is_steady(times_s, shown_s):
        shown_s = declared_s
    return max(shown_s, find_interval_s(receptions_s, shown_s, least=MIN_BATCH_INTERVALS))


def _is_steady(times_s: Sequence[float], interval_s: float) -> bool:
    longest_s = (1.0 + INTERVAL_TOLERANCE) * interval_s
    pauses = [later_s for earlier_s, later_s in pairwise(times_s) if later_s - earlier_s > longest_s]
    return len(pauses) <= MAX_PAUSES


def measure_pace(spec: SeriesSpec, times_s: Sequence[float], received_s: Sequence[float]) -> tuple[float, float]:
    """Return the usual interval of a series and its limit of silence, in seconds.

    Args:
        spec: The series.
        times_s: Epochs of its newest readings, oldest first.
        received_s: When each of them was received.
    """
    measured_s = find_interval_s(times_s, spec.interval_s)
    receptions_s = list_receptions(sorted(received_s, reverse=True), measured_s)
    interval_s = find_usual_interval_s(times_s, receptions_s, spec.interval_s)
    silence_s = spec.max_silence_s
    if spec.learns_silence:
        silence_s = find_silence_s(spec, times_s, receptions_s)
    return interval_s, max(silence_s, 0.0)
