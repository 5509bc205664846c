"""Intensity of rain over its duration against a curve: I = c + a * D**-b (Caine 1980)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from forecasting.hydrology.rain_events import event_span_s
from monitor.criteria.entry import Entry
from monitor.criteria.rain_gauge import RAIN_SAFE, Gauge
from monitor.criteria.rainfall import Fact, judge_rain
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion
from monitor.series.assessment import Assessment, Windows


@dataclass(frozen=True, slots=True)
class RainIntensityDurationRule:
    """I = c + a * D**-b, I in mm/h, D in h; crossed when any duration lies above the curve (Caine 1980).

    With `dry_gap` only durations within the rain event that runs now.
    """

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per gauge."""
        return tuple(judge_rain(self.criterion, windows, s, measure_curve) for s in self.criterion.stations)


def measure_curve(criterion: Criterion, gauge: Gauge) -> Sequence[Fact]:
    """Sum, bound and coverage of every duration that ends now: what a page draws as points beside the curve."""
    return _curve(criterion, gauge, dict(criterion.params))


def _curve(criterion: Criterion, gauge: Gauge, params: dict[str, float]) -> Sequence[Fact]:
    from_s, to_s = params.get("duration_from_s", 3600.0), params.get("duration_to_s", 864000.0)
    level = criterion.thresholds[0].level
    end = gauge.times_s[-1]
    event_s: float | None = None
    if "dry_gap_s" in params:
        event_s = event_span_s(
            gauge.times_s, gauge.amounts_mm, gauge.interval_s, gauge.stamp, params["dry_gap_s"], params["dry_mm"]
        )
        event_s += gauge.block_s - gauge.interval_s if event_s > 0.0 and gauge.block_s > 0.0 else 0.0
        to_s = min(to_s, event_s)
    steps = max(1, -int(-from_s // gauge.interval_s), -int(-gauge.block_s // gauge.interval_s))
    found: list[Fact] = []
    total, index = 0.0, len(gauge.times_s) - 1
    late = 0.5 * gauge.interval_s if gauge.stamp == "interval_end" else 0.0
    for n in range(1, int(to_s / gauge.interval_s) + 1):
        window_s = n * gauge.interval_s
        while index >= 0 and gauge.times_s[index] > end - window_s + late:
            total += gauge.amounts_mm[index]
            index -= 1
        if n < steps:
            continue
        hours = window_s / 3600.0
        bound_mm = (params.get("c", 0.0) + params["a"] * hours ** -params["b"]) * hours
        found.append({
            "level": level, "duration_s": window_s, "sum_mm": total,
            "coverage": gauge.coverage(len(gauge.times_s) - 1 - index, end, window_s), "bound_mm": bound_mm,
            "ratio": total / bound_mm if bound_mm > 0 else 0.0,
        })  # fmt: skip
    if event_s is not None:
        found = [{**f, "event_s": event_s} for f in found]
    return found or [_quiet(criterion, gauge, max(from_s, gauge.block_s), event_s)]


def _quiet(criterion: Criterion, gauge: Gauge, span_s: float, event_s: float | None) -> Fact:
    """No duration to judge: no event runs, or it is shorter than the curve reaches; known only if it was measured."""
    total, coverage = gauge.total(max(span_s, dict(criterion.params).get("dry_gap_s", 0.0)))
    fact = {
        "level": criterion.thresholds[0].level, "duration_s": span_s, "sum_mm": total, "bound_mm": 0.0, "ratio": 0.0,
        "coverage": 0.0 if event_s is None else coverage,
    }  # fmt: skip
    return fact if event_s is None else {**fact, "event_s": event_s}


ENTRY: Final = Entry(
    Kind(
        id="rain_intensity_duration", trigger=True, scaled=True, scaled_params=("a", "c"), loosening="bounds",
        safe_params=(*RAIN_SAFE, ("a", "lower"), ("c", "lower")), drawn=("rain", "curve"),
    ),
    RainIntensityDurationRule,
)  # fmt: skip
