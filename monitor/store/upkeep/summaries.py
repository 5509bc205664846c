"""Hours and days of readings in one row each: what stays when retention lets the readings go."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import groupby
from statistics import fmean, median
from typing import Any, Final

from monitor.domain.instants import epoch_s, from_epoch_s
from monitor.domain.observation import Reading

SPANS: Final = {"hourly": 3600, "daily": 86400}  # seconds; both begin with a day of UTC


@dataclass(frozen=True, slots=True)
class Summary:
    """One span of one series; figures are of the readings without a flag, None where there is none."""

    starts_at: datetime
    count: int
    flagged: int
    median: float | None
    minimum: float | None
    maximum: float | None
    mean: float | None

    def as_row(self, series_id: int, span_s: int, now: datetime) -> dict[str, Any]:
        """The row of `observation_summary`."""
        return {**asdict(self), "series_id": series_id, "span_s": span_s, "made_at": now}


def floor_at(at: datetime, span_s: int) -> datetime:
    """The beginning of the span in which an instant lies.

    >>> from monitor.domain.instants import parse, spell
    >>> spell(floor_at(parse("2026-01-05T07:59:59.5Z"), 3600))
    '2026-01-05T07:00:00.000000Z'
    """
    return from_epoch_s(epoch_s(at) // span_s * span_s)


def ceil_at(at: datetime, span_s: int) -> datetime:
    """The first beginning of a span that does not lie before an instant."""
    start = floor_at(at, span_s)
    return start if start == at else start + timedelta(seconds=span_s)


def summarise(readings: Iterable[Reading], span_s: int) -> list[Summary]:
    """Raw values of readings in order of epoch, span by span."""
    return [
        _of(starts_at, list(some))
        for starts_at, some in groupby(readings, lambda one: floor_at(one.observed_at, span_s))
    ]


def _of(starts_at: datetime, some: Sequence[Reading]) -> Summary:
    values = [one.value_raw for one in some if not one.flags]
    flagged = len(some) - len(values)
    if not values:
        return Summary(starts_at, 0, flagged, None, None, None, None)
    return Summary(starts_at, len(values), flagged, median(values), min(values), max(values), fmean(values))
