"""Convert the readings of a rain gauge into amounts by time, with the time of which the rain is unknown.

Criteria on rain read a `Gauge`. It may be continued with expected rain, that is with the rain of a weather forecast.
"""

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
from monitor.decision.criteria.history import find_issue_age_s
from monitor.decision.records import DecisionInputs
from monitor.decision.series.assessment import DecisionContext
from monitor.readings.cleaned.tracks import list_rain, list_refused_rain
from monitor.readings.records import HARMLESS
from monitor.sites.criteria.rain_sections import FORECAST
from monitor.sites.kinds import Kind
from monitor.sites.quantities import LARGEST
from monitor.sites.records import Criterion, SeriesSpec
from monitor.text.instants import epoch_s

# The sum of a counter over a gap is divided into at most this many amounts.
MAX_GAP_PIECES: Final = 1000
# Parameters of criteria on rain, and the direction in which a change makes the criterion stricter.
RAIN_SAFE_PARAMS: Final = (("min_coverage", "higher"),)
rain_kind: Final = partial(
    Kind, quantity="rain", trigger=True, loosening="bounds", safe_params=RAIN_SAFE_PARAMS, drawn=("rain",)
)
"""Create the `Kind` of a criterion on the rain of a gauge."""


@dataclass(frozen=True, slots=True)
class UnknownTime:
    """Time of which the rain is unknown, as disjoint intervals in rising order.

    Attributes:
        total_lengths_s: Item n is the total length of the first n intervals. With it, `overlap_s` needs two binary
            searches, however many intervals there are.
    """

    starts_s: tuple[float, ...] = ()
    ends_s: tuple[float, ...] = ()
    total_lengths_s: tuple[float, ...] = (0.0,)

    @classmethod
    def from_intervals(cls, intervals: Iterable[UnknownRain]) -> "UnknownTime":
        """Merge intervals that overlap, and return them as one object."""
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
        """Return how many seconds of a window are unknown."""
        first = bisect_right(self.ends_s, from_s)
        end = bisect_left(self.starts_s, to_s)
        if first >= end:
            return 0.0
        before_window_s = max(0.0, from_s - self.starts_s[first])
        after_window_s = max(0.0, self.ends_s[end - 1] - to_s)
        return self.total_lengths_s[end] - self.total_lengths_s[first] - (before_window_s + after_window_s)


@dataclass(frozen=True, slots=True)
class Gauge:
    """Amounts of rain by the end of their interval, oldest first, and the time that they cover.

    Attributes:
        times_s: Ends of the amounts, in epoch seconds.
        amounts_mm: Rain of each interval.
        interval_s: Declared interval of the series.
        stamp: What an amount is: `interval_end` (sum of an interval), `counter` (difference of a counter) or `event`
            (one tip of a bucket). Tips that the site file declares as sums are `event` here.
        from_s: Time of the first reading.
        gaps: (from, to) of the gaps of a counter. The sum over a gap is known. When the rain fell within it is not.
        unknown: Intervals in which another amount may have fallen, each with the reason, by their end.
        unmeasured: Time of counters and tips that does not count as measured.
        doubtful_s: Ends of sums whose interval is unknown. They count as rain. Their time does not count as measured.
        end_tolerance_s: A sum that ends at most this long after the beginning of a window belongs to the time before
            the window.
        expected_reach_s: Above zero if the last amount is expected rain. It is the time after `issued_s` for which the
            rain is expected.
        issued_s: When the expected rain was issued.
    """

    times_s: tuple[float, ...]
    amounts_mm: tuple[float, ...]
    interval_s: float
    stamp: str
    from_s: float | None
    gaps: tuple[tuple[float, float], ...] = ()
    unknown: tuple[UnknownRain, ...] = ()
    unmeasured: UnknownTime = UnknownTime()
    doubtful_s: tuple[float, ...] = ()
    end_tolerance_s: float = 0.0
    expected_reach_s: float = 0.0
    issued_s: float | None = None

    def total(self, window_s: float) -> tuple[float, float]:
        """Return the sum in mm and the coverage (0 to 1) of the window that ends at the newest amount."""
        return self.total_at(self.times_s[-1], window_s)

    def total_at(self, end_s: float, window_s: float) -> tuple[float, float]:
        """Return the sum in mm and the coverage (0 to 1) of the window that ends at an instant."""
        first = bisect_right(self.times_s, end_s - window_s + self.end_tolerance_s)
        end = bisect_right(self.times_s, end_s)
        return fsum(self.amounts_mm[first:end]), self.coverage(end - first, end_s, window_s)

    def coverage(self, count: int, end_s: float, window_s: float) -> float:
        """Return the share (0 to 1) of a window that was measured.

        The time of expected rain counts as measured. Intervals whose rain is unknown do not.

        Args:
            count: Number of amounts in the window.
        """
        if self.stamp == "interval_end":
            measured_s = (count - self._count_doubtful(end_s, window_s)) * self.interval_s
            if self.expected_reach_s > 0.0 and count > 0:
                measured_s += self.expected_reach_s - self.interval_s
            return max(0.0, measured_s) / window_s if measured_s < window_s else 1.0
        # Counters and tips send no readings while it is dry, so all time since the first reading counts as measured.
        start_s = end_s - window_s
        measured_s = 0.0 if self.from_s is None else min(window_s, max(0.0, end_s - self.from_s))
        # If the window begins inside a gap, the part of the sum of the gap that fell within the window is unknown.
        lost_s = fsum(min(to_s, end_s) - start_s for from_s, to_s in self.gaps if from_s < start_s < to_s)
        lost_s += self.unmeasured.overlap_s(start_s, end_s)
        return max(0.0, measured_s - lost_s) / window_s

    def _count_doubtful(self, end_s: float, window_s: float) -> int:
        if not self.doubtful_s:
            return 0
        start_s = end_s - window_s + self.end_tolerance_s
        return bisect_right(self.doubtful_s, end_s) - bisect_right(self.doubtful_s, start_s)


def find_gauge(context: DecisionContext, station: str, quantity: str, spec: SeriesSpec) -> Gauge | None:
    """Return the gauge of a series in an evaluation; None if the series has no usable reading."""
    readings = context.inputs.readings.get(f"{station}.{quantity}", ())
    rows = context.list_cached_rain(station, quantity, spec)
    return make_gauge(rows, spec, list_refused_rain(readings, spec, context.now_s))


def read_gauge(inputs: DecisionInputs, spec: SeriesSpec, station: str, quantity: str, now_s: float) -> Gauge | None:
    """Return the gauge of a series outside an evaluation, with readings up to `now_s`; None if none is usable."""
    readings = inputs.readings.get(f"{station}.{quantity}", ())
    return make_gauge(list_rain(readings, spec, now_s), spec, list_refused_rain(readings, spec, now_s))


def make_gauge(rows: Sequence[tuple[float, float]], spec: SeriesSpec, refused_s: Sequence[float] = ()) -> Gauge | None:
    """Convert usable readings into amounts. Return None if no amount remains.

    Every sum of an interval counts once. The amounts of a counter are its differences.

    Args:
        rows: Epoch seconds and value of each usable reading, oldest first.
        refused_s: Times of readings that are not usable. They matter for tips only. The time of other readings that
            are left out is not covered anyway.
    """
    if not rows:
        return None
    if spec.stamp == "counter":
        return _make_counter(rows, spec)
    highest_mm = most_mm(spec.interval_s)
    from_s = rows[0][0]
    unknown = [
        UnknownRain(at_s - spec.interval_s, at_s, UnknownReason.BEYOND_RECORD)
        for at_s, amount in rows
        if amount > highest_mm
    ]
    if unknown:
        rows = [(at_s, amount) for at_s, amount in rows if amount <= highest_mm]
    if not rows:
        return None
    if spec.stamp == "interval_end":
        return _make_sums(rows, spec, unknown, from_s)
    unknown += [UnknownRain(at_s - spec.interval_s, at_s, UnknownReason.REFUSED) for at_s in refused_s]
    return _build_gauge(rows, spec, spec.stamp, from_s, unknown)


def _make_counter(rows: Sequence[tuple[float, float]], spec: SeriesSpec) -> Gauge | None:
    counted = count_up(rows, spec.interval_s)
    if not counted.times_s:
        return None
    amounts, gaps = _spread_over_gaps(counted.rows, spec.interval_s)
    unknown_ends = {interval.to_s for interval in counted.unknown}
    gaps_with_known_sum = tuple([gap for gap in gaps if gap[1] not in unknown_ends])
    return replace(_build_gauge(amounts, spec, "counter", rows[0][0], counted.unknown), gaps=gaps_with_known_sum)


def _make_sums(
    rows: Sequence[tuple[float, float]], spec: SeriesSpec, unknown: list[UnknownRain], from_s: float
) -> Gauge:
    sums = resolve_sums(rows, spec.interval_s)
    unknown = [*unknown, *sums.unknown]
    if sums.are_tips:
        return _build_gauge(sums.rows, spec, "event", from_s, unknown)
    faster = [interval for interval in sums.unknown if interval.reason is UnknownReason.FASTER]
    # Sums that arrive faster than declared have shorter intervals, so the jitter of their ends is smaller.
    usual_s = median([interval.to_s - interval.from_s for interval in faster] or [spec.interval_s])
    return replace(
        _build_gauge(sums.rows, spec, "interval_end", from_s, unknown),
        doubtful_s=tuple([interval.to_s for interval in faster]),
        end_tolerance_s=0.5 * min(usual_s, spec.interval_s),
    )


def _build_gauge(
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
        unmeasured=UnknownTime.from_intervals(by_end),
    )


def _spread_over_gaps(
    rows: Sequence[tuple[float, float]], interval_s: float
) -> tuple[list[tuple[float, float]], tuple[tuple[float, float], ...]]:
    """Spread the rain that a counter counted over a gap evenly over the gap. Return the amounts and the gaps."""
    amounts = list(rows[:1])
    gaps = []
    for (before_s, _), (at_s, amount) in pairwise(rows):
        if at_s - before_s <= 1.5 * interval_s:
            amounts.append((at_s, amount))
            continue
        gaps.append((before_s, at_s))
        pieces = min(MAX_GAP_PIECES, round((at_s - before_s) / interval_s))
        for k in range(1, pieces + 1):
            end_s = at_s - (at_s - before_s) * (pieces - k) / pieces
            amounts.append((end_s, amount / pieces))
    return amounts, tuple(gaps)


def list_gauges_with_expected_rain(
    criterion: Criterion, inputs: DecisionInputs, gauge: Gauge, now_s: float
) -> tuple[list[Gauge], bool]:
    """Continue a gauge with the expected rain of each series of forecast rain that the criterion declares.

    A reading of such a series is one issue: it is stamped with its issue time, and its value is the rain in mm that is
    expected within the reach of the series. The newest valid issue follows the rain that was measured until it was
    issued. If more rain has been measured since then than the issue expects, the measured rain counts.

    Returns:
        One gauge for each reach with a valid issue, and whether every reach has one.
    """
    valid_s = find_issue_age_s(criterion)
    gauges: list[Gauge] = []
    is_complete = True
    for name, series in criterion.texts:
        if not name.startswith(FORECAST):
            continue
        reach_s = float(name.removeprefix(FORECAST))
        issues = []
        for reading in inputs.readings.get(series, ()):
            age_s = now_s - epoch_s(reading.observed_at)
            is_usable = all(flag in HARMLESS for flag in reading.flags) and 0.0 <= reading.value < LARGEST
            if is_usable and 0.0 <= age_s <= valid_s:
                issues.append((epoch_s(reading.observed_at), reading.value))
        if not issues:
            is_complete = False
            continue
        issued_s, expected_mm = max(issues)
        end = bisect_right(gauge.times_s, issued_s)
        measured_since_mm = fsum(gauge.amounts_mm[end:])
        continued = replace(
            gauge,
            times_s=(*gauge.times_s[:end], issued_s + reach_s),
            amounts_mm=(*gauge.amounts_mm[:end], max(expected_mm, measured_since_mm)),
            expected_reach_s=reach_s,
            issued_s=issued_s,
        )
        gauges.append(continued)
    return gauges, is_complete
