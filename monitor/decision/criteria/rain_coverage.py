"""Find the rain that a gauge did not measure, and decide whether it could keep a level from falling.

Rain that was lost remains unknown as long as its time is within the window of a sum. A level falls only if the missing
rain cannot keep the sum above the recovery limit (`could_hold`, `fill_gaps`). How much rain a gap may contain depends
on the readings around it:

* A gap beside a wet interval, or a gap long enough for a whole cloudburst (`CLOUDBURST_S`), may contain as much rain as
  was ever measured in such a time. In practice the level then stays until the gap leaves the window.
* The sum over a gap of a counter is known. All of it may have fallen at the end of the gap.
* A short gap between two dry intervals, and the time that is lost when a counter restarts, contain at most rain of the
  intensity of the wettest interval that was measured, or of the bound. A cloudburst would show in the intervals beside
  the gap. Therefore single readings that are lost in dry weather keep no level up.
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
from monitor.decision.series.assessment import DecisionContext
from monitor.readings.cleaned.coverage import (
    NO_READING,
    REMOVED,
    STARTED,
    Coverage,
    Removal,
    find_silence,
    measure_union,
    sort_removals,
)
from monitor.readings.cleaned.noise import MIN_SHARE_EPOCHS, RunDetector
from monitor.readings.cleaned.tracks import explain_rain_fault
from monitor.sites.records import SeriesSpec
from monitor.text.instants import epoch_s
from monitor.text.message import Template, Timestamp

_UNKNOWN: Final[Mapping[UnknownReason, Template]] = {
    UnknownReason.RESTART: Template("coverage.restart", "the counter restarted before {at}"),
    UnknownReason.CORRECTION: Template("coverage.correction", "the counter was set to another value before {at}"),
    UnknownReason.JUMP: Template("coverage.jump", "the counter rose at {at} by more than any rain ever measured"),
    UnknownReason.FASTER: Template("coverage.faster", "until {at} its sums arrived faster than the declared interval"),
    UnknownReason.TIPS: Template(
        "coverage.single_tips",
        "each of its readings until {at} is one tip of the bucket, but the site file declares sums of intervals",
    ),
    UnknownReason.BEYOND_RECORD: Template(
        "coverage.above_record", "the amount of {at} is left out: it is larger than any rain ever measured"
    ),
    UnknownReason.REFUSED: Template("coverage.refused", "a tip of {at} was flagged or out of range"),
}
# At most the rain of one interval is lost for these reasons. Some gauges lose it every hour.
_BOUNDED: Final = frozenset({UnknownReason.RESTART, UnknownReason.TIPS})
_REPEATED: Final = Template("coverage.same_sum", "the gauge sent the same sum again and again from {at} to {at2}")
# In drizzle, small sums repeat by chance. A sum of at least this many tips of the bucket does not.
MIN_TELLING_TIPS: Final = 10.0
# A convective cell passes a gauge in about half an hour.
CLOUDBURST_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class RainLosses:
    """Intervals in which the rain of a gauge is lost or in doubt, beyond readings that are simply missing.

    Attributes:
        silence_s: Longest time without a reading that is usual for the gauge. A longer silence may hide any rain, so
            the assessment lowers no vote.
        removals: Intervals whose amount is in doubt, oldest first.
        restarts: Intervals in which a counter restarted or may have restarted, oldest first.
        uncounted: Those of the removals that `Gauge.coverage` counts as measured.
    """

    gauge: Gauge
    silence_s: float
    removals: tuple[Removal, ...] = ()
    restarts: tuple[Removal, ...] = ()
    uncounted: tuple[Removal, ...] = ()

    def lower_coverage(self, fact: Mapping[str, Any], end_s: float | None = None) -> dict[str, Any]:
        """Return a fact with its coverage reduced by the lost time that the gauge counts as measured.

        Args:
            end_s: End of the window of the fact; by default the newest amount.
        """
        if end_s is None:
            end_s = self.gauge.times_s[-1]
        window_s = fact["duration_s"]
        if not self.uncounted or window_s <= 0.0:
            return dict(fact)
        lost_s = measure_union(self.uncounted, end_s - window_s, float("inf"))
        if lost_s <= 0.0:
            return dict(fact)
        return {**fact, "coverage": max(0.0, fact["coverage"] - lost_s / window_s)}

    def measure(self, window_s: float, share: float) -> Coverage:
        """Return the coverage of a window that ends at the newest amount, with the reasons for what is missing.

        Args:
            share: Share of the window that was measured.
        """
        from_s = self.gauge.times_s[-1] - window_s
        removals = [r for r in self.removals if r.to_s > from_s]
        restarts = [r for r in self.restarts if r.to_s > from_s]
        if not removals and not restarts and share >= 1.0:
            return Coverage(1.0, window_s)
        explained = [*removals, *restarts]
        gaps = [
            gap
            for gap in _list_gaps(self.gauge, from_s)
            if not any(gap.from_s < removal.to_s and removal.from_s < gap.to_s for removal in explained)
        ]
        was_silent = any(gap.to_s - gap.from_s > self.silence_s for gap in gaps if gap.from_s > from_s)
        may_lower = not removals and not was_silent
        return Coverage(min(share, 1.0 - 1e-6), window_s, sort_removals([*explained, *gaps]), may_lower=may_lower)


def find_rain_losses(context: DecisionContext, spec: SeriesSpec, gauge: Gauge) -> RainLosses:
    """Find the losses of a gauge: unusable readings, restarts, sums that overlap or repeat, and silence."""
    readings = context.inputs.readings.get(f"{spec.station}.{spec.quantity}", ())
    now_s = context.now_s
    silence_s = context.find_silence_s(spec)
    times_s = gauge.times_s
    removals: list[Removal] = []
    restarts: list[Removal] = []
    uncounted: list[Removal] = []
    for reading in readings:
        fault = explain_rain_fault(reading)
        at_s = epoch_s(reading.observed_at)
        if fault is None or at_s > now_s:
            continue
        text = REMOVED(at=Timestamp(at_s), text=fault)
        index = bisect_left(times_s, at_s)
        if index == len(times_s):
            uncounted.append(Removal(times_s[-1], at_s, text))
        elif gauge.stamp == "interval_end":
            nearest_s = min(abs(time_s - at_s) for time_s in times_s[max(0, index - 1) : index + 1])
            # Within half an interval there is a usable sum of the same interval, so no rain is lost.
            if nearest_s >= 0.5 * gauge.interval_s:
                removals.append(Removal(at_s - gauge.interval_s, at_s, text))
    for from_s, to_s, reason in gauge.unknown:
        # The rain that a restart loses is bounded like that of a missing reading: some counters restart every hour.
        losses = restarts if reason in _BOUNDED else removals
        losses.append(Removal(from_s, to_s, _UNKNOWN[reason](at=Timestamp(to_s))))
    if gauge.stamp == "interval_end":
        uncounted += _list_repeated_sums(gauge)
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


def _list_repeated_sums(gauge: Gauge) -> list[Removal]:
    """List the intervals in which a gauge sends one large sum more often in succession than chance explains.

    A logger that sends its last value again hides heavier rain. Repeated zeros and small sums are no sign of a fault.
    """
    tip_mm = min((mm for mm in gauge.amounts_mm if mm > 0.0), default=0.0)
    rows = [
        (at_s, mm) for at_s, mm in zip(gauge.times_s, gauge.amounts_mm, strict=True) if mm >= MIN_TELLING_TIPS * tip_mm
    ]
    if tip_mm <= 0.0 or len(rows) <= MIN_SHARE_EPOCHS:
        return []
    values = [(mm,) for _, mm in rows]
    detector = RunDetector(is_noise_stated=True, needs_known_share=True)
    detector.extend(values)
    removals = []
    for first, last in detector.list_runs(values):
        from_s, to_s = rows[first][0], rows[last][0]
        removals.append(Removal(from_s, to_s, _REPEATED(at=Timestamp(from_s), at2=Timestamp(to_s))))
    return removals


def find_first_measured_s(gauge: Gauge) -> float:
    """Return the instant from which on a gauge measures. The first sum of an interval covers the time before it."""
    if gauge.from_s is None:
        return gauge.times_s[0]
    return gauge.from_s - gauge.interval_s if gauge.stamp == "interval_end" else gauge.from_s


def _list_gaps(gauge: Gauge, from_s: float) -> list[Removal]:
    """List the intervals without readings in the window that begins at `from_s`."""
    times_s = gauge.times_s
    if find_first_measured_s(gauge) > from_s:
        first_s = times_s[0] if gauge.from_s is None else gauge.from_s
        return [Removal(from_s, first_s, STARTED(at=Timestamp(first_s)))]
    if gauge.stamp == "event":
        # Time without tips is dry.
        return []
    first = max(0, bisect_right(times_s, from_s) - 1)
    return [
        Removal(before_s, at_s, NO_READING(at=Timestamp(before_s), at2=Timestamp(at_s)))
        for before_s, at_s in pairwise(times_s[first:])
        if at_s - before_s > 1.5 * gauge.interval_s
    ]


def could_hold(fact: Mapping[str, Any], gauge: Gauge, recover: float, wettest_mm_per_s: float) -> bool:
    """Return whether rain of bounded intensity in the unknown part of a window could keep a level from falling.

    It could if it brings the sum to the recovery limit. The time before the first reading of a new gauge does not
    count, because no level was raised by rain before it. For gaps that may contain any rain, see `fill_gaps`.

    Args:
        fact: A fact of `make_fact` about a window that ends at the newest amount.
        recover: Recovery limit as a share of the bound.
        wettest_mm_per_s: Intensity of the wettest interval that the gauge measured.
    """
    duration_s, bound_mm = fact["duration_s"], fact["bound_mm"]
    if fact["coverage"] >= 1.0 or bound_mm <= 0.0:
        return False
    from_s = gauge.times_s[-1] - duration_s
    before_s = max(0.0, find_first_measured_s(gauge) - from_s)
    unknown_s = (1.0 - fact["coverage"]) * duration_s - before_s
    hardest_mm_per_s = max(wettest_mm_per_s, bound_mm / duration_s)
    return bool(unknown_s > 1.0 and fact["sum_mm"] + unknown_s * hardest_mm_per_s >= recover * bound_mm)


def fill_gaps(gauge: Gauge) -> Gauge | None:
    """Return the gauge with as much rain in its gaps as they may contain; None if it has no such gap.

    * Sums of intervals: a gap beside a wet interval, or a gap long enough for a whole cloudburst, may contain as much
      rain as was ever measured in such a time.
    * A counter: the sum over a gap is known. All of it may have fallen at the end of the gap.
    * Tips have no such gaps, because time without tips is dry.
    """
    if gauge.stamp == "counter":
        return _move_to_gap_ends(gauge) if gauge.gaps else None
    times_s, interval_s = gauge.times_s, gauge.interval_s
    longest_s = max(map(sub, times_s[1:], times_s), default=0.0)
    if gauge.stamp != "interval_end" or longest_s <= 1.5 * interval_s:
        return None
    rows = list(zip(times_s, gauge.amounts_mm, strict=True))
    filled = rows[:1]
    for (before_s, before_mm), (at_s, at_mm) in pairwise(rows):
        missing_s = at_s - before_s - interval_s
        may_contain_any_rain = missing_s >= CLOUDBURST_S or before_mm > 0.0 or at_mm > 0.0
        if missing_s > 0.5 * interval_s and may_contain_any_rain:
            filled.append((at_s - interval_s, most_mm(missing_s)))
        filled.append((at_s, at_mm))
    if len(filled) == len(rows):
        return None
    return replace(gauge, times_s=tuple([at_s for at_s, _ in filled]), amounts_mm=tuple([mm for _, mm in filled]))


def _move_to_gap_ends(gauge: Gauge) -> Gauge:
    """Return the gauge of a counter with the rain of each gap at the end of the gap."""
    amounts_mm = list(gauge.amounts_mm)
    for from_s, to_s in gauge.gaps:
        first, end = bisect_right(gauge.times_s, from_s), bisect_right(gauge.times_s, to_s)
        if first < end:
            amounts_mm[first:end] = [*[0.0] * (end - first - 1), fsum(amounts_mm[first:end])]
    return replace(gauge, amounts_mm=tuple(amounts_mm))
