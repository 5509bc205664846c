"""Rain of a gauge against sums and curves, and the word that every criterion on rain says.

A sum carries its coverage: thin data make it a lower bound, enough to raise and never to lower. Where the site file
names series of expected rain, each issue is joined to what was measured until it was issued.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forecasting.hydrology.rain_events import event_span_s
from monitor.criteria.rain_gauge import Gauge, read_gauge, read_outlooks
from monitor.domain.site import Criterion
from monitor.series.assessment import Assessment, Windows

Fact = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RainSumRule:
    """Sum over the window of each level."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per gauge."""
        return tuple(judge_rain(self.criterion, windows, s, _sums) for s in self.criterion.stations)


@dataclass(frozen=True, slots=True)
class RainIntensityDurationRule:
    """I = c + a * D**-b, I in mm/h, D in h; crossed when any duration lies above the curve (Caine 1980).

    With `dry_gap` only durations within the rain event that runs now.
    """

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per gauge."""
        return tuple(judge_rain(self.criterion, windows, s, measure_curve) for s in self.criterion.stations)


def judge_rain(
    criterion: Criterion, windows: Windows, station: str, measure: Callable[[Criterion, Gauge], Sequence[Fact]]
) -> Assessment:  # fmt: skip
    """One gauge against the bounds of a criterion, with and without the rain that is expected.

    Args:
        criterion: of a kind on rain.
        windows: what was known.
        station: the gauge.
        measure: facts, each with `level`, `duration_s`, `sum_mm`, `bound_mm`, `ratio` and `coverage`.
    """
    spec = windows.site.series(station, criterion.quantity)
    if spec is None or spec.unit == "index":
        return Assessment(criterion.id, station, reason="an index has no unit: no bound may use it")
    gauge = read_gauge(windows.view, spec, station, criterion.quantity, windows.now_s)
    if gauge is None or gauge.times_s[-1] <= windows.answered_s(f"{criterion.id}|{station}"):
        return Assessment(criterion.id, station, newest_s=gauge.times_s[-1] if gauge else None)
    outlooks, complete = read_outlooks(criterion, windows.view, gauge, windows.now_s)
    needed = dict(criterion.params).get("min_coverage", 0.8)
    facts = list(measure(criterion, gauge))
    for outlook in outlooks:
        # a window shorter than the reach would need to know when within it the rain falls
        facts += [
            {**f, "expected_mm": outlook.amounts_mm[-1], "reach_s": outlook.block_s, "issued_s": outlook.issued_s}
            for f in measure(criterion, outlook) if f["duration_s"] >= outlook.block_s
        ]  # fmt: skip
    raise_level = max((f["level"] for f in facts if f["ratio"] > 1.0), default=0)
    # thin coverage makes the sum a lower bound: enough to raise, never to lower
    hold_level = max(
        (f["level"] for f in facts if f["ratio"] >= criterion.recover or f["coverage"] < needed), default=0
    )
    worst = max(facts, key=lambda f: float(f["ratio"]))
    newest_s = gauge.times_s[-1]
    return Assessment(
        criterion.id, station, raise_level, max(hold_level, raise_level), heard=True,
        # what was expected and is not told any more is missing, not dry
        fresh=complete and windows.is_fresh(newest_s, spec), newest_s=newest_s, reason=_sentence(worst),
        facts={"worst": worst, "min_coverage": needed, "durations": len(facts), "levels": _by_level(facts)},
    )  # fmt: skip


def _sentence(worst: Mapping[str, Any]) -> str:
    expected = "" if "expected_mm" not in worst else f" of which {worst['expected_mm']:.1f} mm are expected"
    return (
        f"{worst.get('what', 'rain')} {worst['sum_mm']:.1f} mm in {worst['duration_s'] / 3600:.4g} h{expected} is "
        f"{worst['ratio']:.2f} of the bound{worst.get('note', '')}, coverage {worst['coverage']:.2f}"
    )


def _by_level(facts: Sequence[Fact]) -> list[Fact]:
    """The fact that comes nearest to its bound at each level: what a page shows beside the curve."""
    nearest: dict[int, Fact] = {}
    for fact in facts:
        if fact["level"] not in nearest or fact["ratio"] > nearest[fact["level"]]["ratio"]:
            nearest[fact["level"]] = fact
    return [nearest[k] for k in sorted(nearest)]


def _sums(criterion: Criterion, gauge: Gauge) -> Sequence[Fact]:
    found = []
    for threshold in criterion.thresholds:
        window_s = threshold.window_s or 86400.0
        total, coverage = gauge.total(window_s)
        bound = threshold.over or 0.0
        found.append({
            "level": threshold.level, "duration_s": window_s, "sum_mm": total, "coverage": coverage, "bound_mm": bound,
            "ratio": total / bound if bound > 0 else 0.0,
        })  # fmt: skip
    return found


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
