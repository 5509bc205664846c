"""What is missing of the rain of a gauge: what was lost stays unknown for the whole window of a sum.

A level that stands falls only if the missing rain cannot hold it (`could_hold`, `fill_gaps`). How much rain a gap
may hold depends on what surrounds it:

* A gap beside a wet interval, or one long enough for a whole cloudburst (`BURST_S`), may hold any rain that was ever
  measured in such a time. In practice the level then stands until the gap leaves the window.
* What fell within a gap of a counter is known, and all of it may have fallen at the end of the gap.
* A short gap between two dry intervals, and what a restart of a counter loses, hold no more than rain as hard as in
  the wettest interval measured, or as the bound. A cloudburst would show in the intervals beside the gap. So a radio
  that loses single readings in dry weather holds no level up.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import fsum
from operator import sub
from typing import Any, Final

from forecasting.hydrology.rain_amounts import UnknownReason, most_mm
from monitor.decision.criteria.rain_gauge import Gauge
from monitor.decision.records import seconds
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.coverage import (
    NO_READING,
    REMOVED,
    STARTED,
    Coverage,
    Removal,
    find_silence,
    measure_union,
    sort_removals,
)
from monitor.decision.series.noise import FEWEST_KNOWN, RepeatDetector
from monitor.decision.series.tracks import explain_rain_fault
from monitor.sites.records import SeriesSpec
from monitor.text.message import Template, Timestamp

_UNKNOWN: Final[Mapping[UnknownReason, Template]] = {
    UnknownReason.RESTART: Template("coverage.restart", "the counter restarted before {at}"),
    UnknownReason.CORRECTION: Template("coverage.correction", "the counter was set to another value before {at}"),
    UnknownReason.JUMP: Template("coverage.jump", "the counter rose by more than any rain ever measured at {at}"),
    UnknownReason.FASTER: Template("coverage.faster", "its sums arrive faster than the declared interval until {at}"),
    UnknownReason.TIPS: Template("coverage.tips", "its rows are single tips, the newest of {at}"),
    UnknownReason.BEYOND_RECORD: Template(
        "coverage.beyond_record", "more rain than ever measured was left out at {at}"
    ),
    UnknownReason.REFUSED: Template("coverage.refused", "a tip of {at} was flagged or out of range"),
}
# What these lose is no more than rain of one interval, and some gauges lose it each hour.
_BOUNDED: Final = frozenset({UnknownReason.RESTART, UnknownReason.TIPS})
_REPEATED: Final = Template("coverage.rain_repeated", "it repeats one sum from {at} to {at2}")
# Sums of fewer steps of the bucket than this may well repeat: drizzle does.
TELLING_STEPS: Final = 10.0
# A convective cell passes a gauge in about half an hour.
BURST_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class RainLosses:
    """What rules took away from a rain gauge: readings set aside, restarts of its counter, sums that overlap.

    Attributes:
        removals: Stretches of which the amount is in doubt, oldest first.
        restarts: Stretches in which a counter restarted, or may have.
        uncounted: Those removals that `Gauge.coverage` still counts as known.
        silence_s: The silence that the gauge may keep. A longer one may hide any rain: the result lowers no vote.
    """

    gauge: Gauge
    silence_s: float
    removals: tuple[Removal, ...] = ()
    restarts: tuple[Removal, ...] = ()
    uncounted: tuple[Removal, ...] = ()

    def lower(self, fact: Mapping[str, Any], end_s: float | None = None) -> dict[str, Any]:
        """Return a fact of a window that ends at the newest reading, its coverage lowered by what was taken away."""
        end_s = self.gauge.times_s[-1] if end_s is None else end_s
        window_s = fact["duration_s"]
        if not self.uncounted or window_s <= 0.0:
            return dict(fact)
        lost_s = measure_union(self.uncounted, end_s - window_s, float("inf"))
        return {**fact, "coverage": max(0.0, fact["coverage"] - lost_s / window_s)} if lost_s > 0.0 else dict(fact)

    def measure(self, window_s: float, share: float) -> Coverage:
        """Return the coverage of a window that ends at the newest reading, of which a share is known."""
        from_s = self.gauge.times_s[-1] - window_s
        removals = [r for r in self.removals if r.to_s > from_s]
        restarts = [r for r in self.restarts if r.to_s > from_s]
        if not removals and not restarts and share >= 1.0:
            return Coverage(1.0, window_s)
        missing = [
            gap
            for gap in _find_missing_rain(self.gauge, from_s)
            if not any(gap.from_s < r.to_s and r.from_s < gap.to_s for r in (*removals, *restarts))
        ]
        was_silent = any(gap.to_s - gap.from_s > self.silence_s for gap in missing if gap.from_s > from_s)
        may_lower = not removals and not was_silent
        missed = sort_removals([*removals, *restarts, *missing])
        return Coverage(min(share, 1.0 - 1e-6), window_s, missed, may_lower=may_lower)


def find_rain_losses(context: DecisionContext, spec: SeriesSpec, gauge: Gauge) -> RainLosses:
    """Find what is missing of a gauge: readings set aside, restarts of its counter, sums that overlap, silence."""
    readings = context.inputs.readings.get(f"{spec.station}.{spec.quantity}", ())
    now_s, silence_s = context.now_s, context.find_silence_s(spec)
    times_s, half_s = gauge.times_s, 0.5 * gauge.interval_s
    removals: list[Removal] = []
    restarts: list[Removal] = []
    uncounted: list[Removal] = []
    for reading in readings:
        reason = explain_rain_fault(reading)
        if reason is None or (at_s := seconds(reading.observed_at)) > now_s:
            continue
        place = bisect_left(times_s, at_s)
        text = REMOVED(at=Timestamp(at_s), text=reason)
        if place == len(times_s):
            uncounted.append(Removal(times_s[-1], at_s, text))
        elif gauge.stamp == "interval_end":
            near_s = min(abs(t - at_s) for t in times_s[max(0, place - 1) : place + 1])
            if near_s >= half_s:  # otherwise a sound sum of the same interval stands beside it
                removals.append(Removal(at_s - gauge.interval_s, at_s, text))
    for from_s, to_s, why in gauge.unknown:
        # what a restart loses is bounded like what never came: counters may restart each hour
        kind = restarts if why in _BOUNDED else removals
        kind.append(Removal(from_s, to_s, _UNKNOWN[why](at=Timestamp(to_s))))
    if gauge.stamp == "interval_end":
        uncounted += _list_repeated(gauge)
    if gauge.stamp == "event":
        uncounted += [
            Removal(before_s, at_s, NO_READING(at=Timestamp(before_s), at2=Timestamp(at_s)))
            for before_s, at_s in pairwise(times_s)
            if at_s - before_s > silence_s
        ]
    if now_s - times_s[-1] > silence_s and not context.inputs.draining:
        uncounted.append(find_silence(times_s[-1], now_s))
    return RainLosses(
        gauge,
        silence_s,
        sort_removals([*removals, *uncounted]),
        sort_removals(restarts),
        sort_removals(uncounted),
    )


def _list_repeated(gauge: Gauge) -> list[Removal]:
    """List stretches in which a gauge repeats one large sum for longer than chance would make it.

    A logger that sends its last value again hides heavier rain. Zeros and small sums are no sign of a fault.
    """
    step_mm = min((mm for mm in gauge.amounts_mm if mm > 0.0), default=0.0)
    rows = [
        (at_s, mm) for at_s, mm in zip(gauge.times_s, gauge.amounts_mm, strict=True) if mm >= TELLING_STEPS * step_mm
    ]
    if step_mm <= 0.0 or len(rows) <= FEWEST_KNOWN:
        return []
    values = [(mm,) for _, mm in rows]
    detector = RepeatDetector(is_noise_stated=True, has_varied=True)
    detector.extend(values)
    found = []
    for first, last in detector.list_runs(values):
        reason = _REPEATED(at=Timestamp(rows[first][0]), at2=Timestamp(rows[last][0]))
        found.append(Removal(rows[first][0], rows[last][0], reason))
    return found


def find_begin(gauge: Gauge) -> float:
    """Return the instant from which on a gauge measures: its first sum covers the interval before it."""
    if gauge.from_s is None:
        return gauge.times_s[0]
    return gauge.from_s - gauge.interval_s if gauge.stamp == "interval_end" else gauge.from_s


def _find_missing_rain(gauge: Gauge, from_s: float) -> list[Removal]:
    """Find the stretches of a window in which no reading came."""
    times_s = gauge.times_s
    if find_begin(gauge) > from_s:
        first_s = times_s[0] if gauge.from_s is None else gauge.from_s
        return [Removal(from_s, first_s, STARTED(at=Timestamp(first_s)))]
    if gauge.stamp == "event":
        return []  # while it is dry no tip comes
    first = max(0, bisect_right(times_s, from_s) - 1)
    return [
        Removal(before_s, at_s, NO_READING(at=Timestamp(before_s), at2=Timestamp(at_s)))
        for before_s, at_s in pairwise(times_s[first:])
        if at_s - before_s > 1.5 * gauge.interval_s
    ]


def could_hold(fact: Mapping[str, Any], gauge: Gauge, recover: float, wettest_mm_per_s: float) -> bool:
    """Whether bounded rain in the unknown part of a window could keep its sum over the recovery limit.

    The unknown time before the first reading of a new gauge does not count: no level was reached by rain before it.
    Gaps that may hold any rain are not bounded: see `fill_gaps`.

    Args:
        fact: Sum, bound, coverage and duration of a window that ends at the newest reading.
        wettest_mm_per_s: The hardest rain that the gauge measured in one interval.
    """
    duration_s, bound_mm = fact["duration_s"], fact["bound_mm"]
    if fact["coverage"] >= 1.0 or bound_mm <= 0.0:
        return False
    from_s = gauge.times_s[-1] - duration_s
    before_s = max(0.0, find_begin(gauge) - from_s)
    unknown_s = (1.0 - fact["coverage"]) * duration_s - before_s
    hardest_mm_per_s = max(wettest_mm_per_s, bound_mm / duration_s)
    return bool(unknown_s > 1.0 and fact["sum_mm"] + unknown_s * hardest_mm_per_s >= recover * bound_mm)


def fill_gaps(gauge: Gauge) -> Gauge | None:
    """Return the gauge with the most rain that its gaps may hold in windows up to now; None if it has no such gap.

    * Of sums, a gap beside a wet interval, or one long enough for a whole cloudburst, holds the most rain ever
      measured.
    * Of a counter, the sum over a gap is known. All of it may have fallen at the end of the gap.
    * Tips have no such gaps: without a tip it was dry.
    """
    if gauge.stamp == "counter":
        return _move_to_ends(gauge) if gauge.gaps else None
    times_s, interval_s = gauge.times_s, gauge.interval_s
    if gauge.stamp != "interval_end" or max(map(sub, times_s[1:], times_s), default=0.0) <= 1.5 * interval_s:
        return None
    rows = list(zip(times_s, gauge.amounts_mm, strict=True))
    filled = rows[:1]
    for (before_s, before_mm), (at_s, at_mm) in pairwise(rows):
        missing_s = at_s - before_s - interval_s
        is_open = missing_s >= BURST_S or before_mm > 0.0 or at_mm > 0.0
        if missing_s > 0.5 * interval_s and is_open:
            filled.append((at_s - interval_s, most_mm(missing_s)))
        filled.append((at_s, at_mm))
    if len(filled) == len(rows):
        return None
    return replace(gauge, times_s=tuple([at_s for at_s, _ in filled]), amounts_mm=tuple([mm for _, mm in filled]))


def _move_to_ends(gauge: Gauge) -> Gauge:
    """Return a counter whose rain of each gap fell at the end of the gap."""
    amounts_mm = list(gauge.amounts_mm)
    for from_s, to_s in gauge.gaps:
        first, end = bisect_right(gauge.times_s, from_s), bisect_right(gauge.times_s, to_s)
        if first < end:
            amounts_mm[first:end] = [*[0.0] * (end - first - 1), fsum(amounts_mm[first:end])]
    return replace(gauge, amounts_mm=tuple(amounts_mm))
