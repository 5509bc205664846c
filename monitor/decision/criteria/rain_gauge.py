"""The rain of a gauge as criteria read it: amounts by time, what is unknown, and the rain that is expected."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from math import fsum
from statistics import median
from typing import Final

from forecasting.hydrology.rain_amounts import UnknownRain, UnknownReason, most_mm
from forecasting.hydrology.rain_counters import count_up
from forecasting.hydrology.rain_sums import resolve_sums
from monitor.decision.records import DecisionInputs, seconds
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.tracks import list_rain, list_refused_rain
from monitor.readings.records import HARMLESS
from monitor.sites.criteria.rain_sections import FORECAST
from monitor.sites.kinds import Kind
from monitor.sites.quantities import LARGEST
from monitor.sites.records import Criterion, SeriesSpec

# A gap of a counter is divided into at most so many amounts.
MOST_PIECES: Final = 1000
RAIN_SAFE: Final = (("min_coverage", "higher"),)  # parameters that tighten when they go this way
rain_kind: Final = partial(
    Kind, quantity="rain", trigger=True, loosening="bounds", safe_params=RAIN_SAFE, drawn=("rain",)
)
"""A kind that measures the rain of a gauge."""


@dataclass(frozen=True, slots=True)
class UnknownTime:
    """Time of which nothing is known, as disjoint intervals in rising order. Answers overlaps in logarithmic time."""

    starts_s: tuple[float, ...] = ()
    ends_s: tuple[float, ...] = ()
    sums_s: tuple[float, ...] = (0.0,)  # total length of the first n intervals

    @classmethod
    def of(cls, intervals: Iterable[UnknownRain]) -> "UnknownTime":
        """Merge intervals that overlap."""
        merged: list[list[float]] = []
        for interval in sorted(intervals):
            if merged and interval.from_s <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], interval.to_s)
            else:
                merged.append([interval.from_s, interval.to_s])
        lengths = [end_s - start_s for start_s, end_s in merged]
        starts = tuple([start_s for start_s, _ in merged])
        ends = tuple([end_s for _, end_s in merged])
        return cls(starts, ends, tuple(accumulate(lengths, initial=0.0)))

    def overlap_s(self, from_s: float, to_s: float) -> float:
        """Return how much of a window is unknown, seconds."""
        first = bisect_right(self.ends_s, from_s)
        last = bisect_left(self.starts_s, to_s)
        if first >= last:
            return 0.0
        cut_s = max(0.0, from_s - self.starts_s[first]) + max(0.0, self.ends_s[last - 1] - to_s)
        return self.sums_s[last] - self.sums_s[first] - cut_s


@dataclass(frozen=True, slots=True)
class Gauge:
    """Rain by interval end, newest last, and how much of the time it covers.

    Attributes:
        stamp: How the amounts are read. Tips that are declared as sums of intervals are `event` here.
        gaps: Gaps of a counter. Its sum over each gap is known, but not when within it the rain fell.
        unknown: Intervals in which another amount may have fallen, with the reason, by end.
        lost: Time that does not count as measured, of counters and tips.
        doubtful_s: Ends of sums whose interval is unknown. They count as rain, and their time does not count as
            measured.
        slack_s: By how much a sum may end after the beginning of a window and still belong to the time before it.
        block_s: Above zero if the last amount is rain that is expected in so many seconds after `issued_s`.
    """

    times_s: tuple[float, ...]
    amounts_mm: tuple[float, ...]
    interval_s: float
    stamp: str
    from_s: float | None
    gaps: tuple[tuple[float, float], ...] = ()
    unknown: tuple[UnknownRain, ...] = ()
    lost: UnknownTime = UnknownTime()
    doubtful_s: tuple[float, ...] = ()
    slack_s: float = 0.0
    block_s: float = 0.0
    issued_s: float | None = None

    def total(self, window_s: float) -> tuple[float, float]:
        """Return (sum, coverage 0..1) of the window that ends at the newest reading."""
        return self.total_at(self.times_s[-1], window_s)

    def total_at(self, end_s: float, window_s: float) -> tuple[float, float]:
        """Return (sum, coverage 0..1) of the window that ends at an instant."""
        edge = end_s - window_s + self.slack_s
        first, last = bisect_right(self.times_s, edge), bisect_right(self.times_s, end_s)
        return fsum(self.amounts_mm[first:last]), self.coverage(last - first, end_s, window_s)

    def coverage(self, count: int, end_s: float, window_s: float) -> float:
        """Return the share of a window that was measured, given how many readings it contains.

        The time of a forecast is covered. Intervals whose rain is unknown are not.
        """
        if self.stamp == "interval_end":
            known_s = (count - self._count_doubtful(end_s, window_s)) * self.interval_s
            if self.block_s > 0.0 and count > 0:
                known_s += self.block_s - self.interval_s
            return max(0.0, known_s) / window_s if known_s < window_s else 1.0
        # counters and tips have no readings while it is dry: all time since the first reading is covered
        edge_s = end_s - window_s
        known_s = 0.0 if self.from_s is None else min(window_s, max(0.0, end_s - self.from_s))
        # how much of a gap's sum fell within a window that begins inside the gap is not known
        lost_s = fsum(min(to_s, end_s) - edge_s for from_s, to_s in self.gaps if from_s < edge_s < to_s)
        lost_s += self.lost.overlap_s(edge_s, end_s)
        return max(0.0, known_s - lost_s) / window_s

    def _count_doubtful(self, end_s: float, window_s: float) -> int:
        if not self.doubtful_s:
            return 0
        edge_s = end_s - window_s + self.slack_s
        return bisect_right(self.doubtful_s, end_s) - bisect_right(self.doubtful_s, edge_s)


def gauge_of(context: DecisionContext, station: str, quantity: str, spec: SeriesSpec) -> Gauge | None:
    """Return the gauge of a decision."""
    readings = context.inputs.readings.get(f"{station}.{quantity}", ())
    rows = context.list_rain(station, quantity, spec)
    return make_gauge(rows, spec, list_refused_rain(readings, spec, context.now_s))


def read_gauge(inputs: DecisionInputs, spec: SeriesSpec, station: str, quantity: str, now_s: float) -> Gauge | None:
    """Turn readings into amounts: sums of intervals once each, counters by difference, events by tip."""
    readings = inputs.readings.get(f"{station}.{quantity}", ())
    return make_gauge(list_rain(readings, spec, now_s), spec, list_refused_rain(readings, spec, now_s))


def make_gauge(rows: Sequence[tuple[float, float]], spec: SeriesSpec, refused_s: Sequence[float] = ()) -> Gauge | None:
    """Turn epoch seconds and values of sound readings, oldest first, into amounts.

    Args:
        refused_s: Times of readings that are not sound. Only of tips are they unknown by this list: the time of other
            readings that are missing is not covered anyway.
    """
    if not rows:
        return None
    if spec.stamp == "counter":
        return _make_counter(rows, spec)
    highest_mm = most_mm(spec.interval_s)
    unknown = [
        UnknownRain(at_s - spec.interval_s, at_s, UnknownReason.BEYOND_RECORD)
        for at_s, amount in rows
        if amount > highest_mm
    ]
    from_s = rows[0][0]
    rows = [(at_s, amount) for at_s, amount in rows if amount <= highest_mm] if unknown else rows
    if not rows:
        return None
    if spec.stamp == "interval_end":
        return _make_sums(rows, spec, unknown, from_s)
    unknown += [UnknownRain(at_s - spec.interval_s, at_s, UnknownReason.REFUSED) for at_s in refused_s]
    return _gauge(rows, spec, spec.stamp, from_s, unknown)


def _make_counter(rows: Sequence[tuple[float, float]], spec: SeriesSpec) -> Gauge | None:
    counted = count_up(rows, spec.interval_s)
    if not counted.times_s:
        return None
    spread, gaps = _spread(counted.rows, spec.interval_s)
    unknown_ends = {interval.to_s for interval in counted.unknown}
    gaps = tuple([gap for gap in gaps if gap[1] not in unknown_ends])
    return replace(_gauge(spread, spec, "counter", rows[0][0], counted.unknown), gaps=gaps)


def _make_sums(
    rows: Sequence[tuple[float, float]], spec: SeriesSpec, unknown: list[UnknownRain], from_s: float
) -> Gauge:
    sums = resolve_sums(rows, spec.interval_s)
    unknown = [*unknown, *sums.unknown]
    if sums.are_tips:
        return _gauge(sums.rows, spec, "event", from_s, unknown)
    faster = [interval for interval in sums.unknown if interval.reason is UnknownReason.FASTER]
    # parts of an interval are shorter, so the jitter of their ends is smaller
    shortest_s = median([interval.to_s - interval.from_s for interval in faster] or [spec.interval_s])
    return replace(
        _gauge(sums.rows, spec, "interval_end", from_s, unknown),
        doubtful_s=tuple([interval.to_s for interval in faster]),
        slack_s=0.5 * min(shortest_s, spec.interval_s),
    )


def _gauge(
    rows: Sequence[tuple[float, float]],
    spec: SeriesSpec,
    stamp: str,
    from_s: float,
    unknown: Iterable[UnknownRain],
) -> Gauge:
    times, amounts = zip(*rows, strict=True)
    by_end = tuple(sorted(unknown, key=lambda interval: (interval.to_s, interval.from_s)))
    return Gauge(
        times_s=times,
        amounts_mm=amounts,
        interval_s=spec.interval_s,
        stamp=stamp,
        from_s=from_s,
        unknown=by_end,
        lost=UnknownTime.of(by_end) if by_end else UnknownTime(),
    )


def _spread(
    rows: Sequence[tuple[float, float]], interval_s: float
) -> tuple[list[tuple[float, float]], tuple[tuple[float, float], ...]]:
    """Spread what a counter counted over a gap evenly, and return the gaps."""
    spread = list(rows[:1])
    gaps = []
    for (before_s, _), (at_s, amount) in pairwise(rows):
        if at_s - before_s <= 1.5 * interval_s:
            spread.append((at_s, amount))
            continue
        gaps.append((before_s, at_s))
        pieces = min(MOST_PIECES, round((at_s - before_s) / interval_s))
        spread += [(at_s - (at_s - before_s) * (pieces - k) / pieces, amount / pieces) for k in range(1, pieces + 1)]
    return spread, tuple(gaps)


def read_outlooks(criterion: Criterion, inputs: DecisionInputs, gauge: Gauge, now_s: float) -> tuple[list[Gauge], bool]:
    """Gauges that go on with the rain expected, one per declared reach, and whether every reach had a valid issue.

    An issue is a reading stamped with its issue time: mm expected in the reach after it. It is joined to what was
    measured until it was issued; where more has fallen since than it said for its whole reach, what fell counts.
    """
    params = dict(criterion.params)
    found: list[Gauge] = []
    complete = True
    for name, series in criterion.texts:
        if not name.startswith(FORECAST):
            continue
        reach_s = float(name.removeprefix(FORECAST))
        issues = [
            (seconds(r.observed_at), r.value)
            for r in inputs.readings.get(series, ())
            if all(f in HARMLESS for f in r.flags)
            and 0.0 <= r.value < LARGEST
            and 0.0 <= now_s - seconds(r.observed_at) <= params.get("forecast_valid_s", 0.0)
        ]
        if not issues:
            complete = False
            continue
        issued_s, expected_mm = max(issues)
        known = bisect_right(gauge.times_s, issued_s)
        fallen = fsum(gauge.amounts_mm[known:])
        found.append(
            replace(
                gauge,
                times_s=(*gauge.times_s[:known], issued_s + reach_s),
                amounts_mm=(*gauge.amounts_mm[:known], max(expected_mm, fallen)),
                block_s=reach_s,
                issued_s=issued_s,
            )
        )
    return found, complete
