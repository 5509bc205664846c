"""A rain gauge as criteria read it: amounts by time whatever its stamp, coverage, and what is expected to come."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import fsum
from typing import Final

from forecasting.hydrology.rain_amounts import count_up, find_overlaps, most_mm, pick_sums
from monitor.decision.criteria.rain_table import FORECAST
from monitor.decision.series.tracks import LARGEST, list_rain
from monitor.domain.decision import DecisionInputs, seconds
from monitor.domain.kinds import Kind
from monitor.domain.observation import HARMLESS
from monitor.domain.site import Criterion, SeriesSpec

MOST_PIECES: Final = 1000
RAIN_SAFE: Final = (("min_coverage", "higher"),)  # parameters that tighten when they go this way
rain_kind: Final = partial(
    Kind, quantity="rain", trigger=True, loosening="bounds", safe_params=RAIN_SAFE, drawn=("rain",)
)
"""A kind that measures the rain of a gauge."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """Rain by interval end, newest last, and how much of the time it covers.

    `block_s` is above zero where the last amount is rain that is expected in so many seconds after `issued_s`.
    """

    times_s: tuple[float, ...]
    amounts_mm: tuple[float, ...]
    interval_s: float
    stamp: str
    from_s: float | None
    gaps: tuple[tuple[float, float], ...] = ()  # of a counter: its sum over each is known, not when in it
    unknown: tuple[tuple[float, float], ...] = ()  # of a counter that was corrected: what fell is not known
    overlaps_s: tuple[float, ...] = ()  # ends of sums by which more time was covered than passed
    block_s: float = 0.0
    issued_s: float | None = None

    def total(self, window_s: float) -> tuple[float, float]:
        """(sum, coverage 0..1) of the window that ends at the newest reading."""
        return self.total_at(self.times_s[-1], window_s)

    def total_at(self, end_s: float, window_s: float) -> tuple[float, float]:
        """(sum, coverage 0..1) of the window that ends at an instant."""
        edge = end_s - window_s + (0.5 * self.interval_s if self.stamp == "interval_end" else 0.0)
        first, last = bisect_right(self.times_s, edge), bisect_right(self.times_s, end_s)
        return fsum(self.amounts_mm[first:last]), self.coverage(last - first, end_s, window_s)

    def coverage(self, count: int, end_s: float, window_s: float) -> float:
        """Share of a window that was measured, given how many readings lie in it; the time of a forecast is covered."""
        if self.stamp == "interval_end":
            known_s = count * self.interval_s
            if self.block_s > 0.0 and count > 0:
                known_s += self.block_s - self.interval_s
            return known_s / window_s if known_s < window_s else 1.0
        # counters and tips say nothing while it is dry: covered is what lies after the first reading
        edge_s = end_s - window_s
        known_s = 0.0 if self.from_s is None else min(window_s, max(0.0, end_s - self.from_s))
        # a gap that begins before the window: how much of what it counted fell within the window is not known
        lost_s = fsum(min(to_s, end_s) - edge_s for from_s, to_s in self.gaps if from_s < edge_s < to_s)
        lost_s += fsum(max(0.0, min(to_s, end_s) - max(from_s, edge_s)) for from_s, to_s in self.unknown)
        return max(0.0, known_s - lost_s) / window_s

    def is_overlapping(self, span_s: float) -> bool:
        """Whether more time was covered than passed within a span that ends at the newest reading."""
        return bool(self.overlaps_s) and self.overlaps_s[-1] > self.times_s[-1] - span_s  # they rise


def read_gauge(view: DecisionInputs, spec: SeriesSpec, station: str, quantity: str, now_s: float) -> Gauge | None:
    """Turn readings into amounts: interval sums once each, counters by difference with resets, events by tip."""
    return make_gauge(list_rain(view.readings.get(f"{station}.{quantity}", ()), spec, now_s), spec)


def make_gauge(rows: Sequence[tuple[float, float]], spec: SeriesSpec) -> Gauge | None:
    """Amounts out of epoch seconds and values of sound readings, oldest first."""
    if not rows:
        return None
    from_s = rows[0][0]
    gaps: tuple[tuple[float, float], ...] = ()
    unknown: tuple[tuple[float, float], ...] = ()
    overlaps: Sequence[float] = ()
    if spec.stamp == "counter":
        counted = count_up(rows, spec.interval_s)
        unknown = tuple(counted.unknown)
        rows, gaps = _spread(list(zip(counted.times_s, counted.amounts_mm, strict=True)), spec.interval_s)
    else:
        highest_mm = most_mm(spec.interval_s)
        rows = [(at_s, amount) for at_s, amount in rows if amount <= highest_mm]
    if spec.stamp == "interval_end":
        rows = pick_sums(rows, spec.interval_s)
        overlaps = find_overlaps([at_s for at_s, _ in rows], spec.interval_s)
    if not rows:
        return None
    times, amounts = zip(*rows, strict=True)
    return Gauge(
        times_s=times,
        amounts_mm=amounts,
        interval_s=spec.interval_s,
        stamp=spec.stamp,
        from_s=from_s,
        gaps=gaps,
        unknown=unknown,
        overlaps_s=tuple(overlaps),
    )


def _spread(
    rows: Sequence[tuple[float, float]], interval_s: float
) -> tuple[list[tuple[float, float]], tuple[tuple[float, float], ...]]:
    """What a counter counted over a gap, laid evenly over it, and the gaps: within them nobody knows when it fell."""
    found = list(rows[:1])
    gaps = []
    for (before_s, _), (at_s, amount) in pairwise(rows):
        if at_s - before_s <= 1.5 * interval_s:
            found.append((at_s, amount))
            continue
        gaps.append((before_s, at_s))
        pieces = min(MOST_PIECES, round((at_s - before_s) / interval_s))
        found += [(at_s - (at_s - before_s) * (pieces - k) / pieces, amount / pieces) for k in range(1, pieces + 1)]
    return found, tuple(gaps)


def read_outlooks(criterion: Criterion, view: DecisionInputs, gauge: Gauge, now_s: float) -> tuple[list[Gauge], bool]:
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
            for r in view.readings.get(series, ())
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
