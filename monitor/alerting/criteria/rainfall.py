"""Rain against a sum in a window, or against an intensity-duration curve over every duration of the data's steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.alerting.assessment import Assessment, Windows
from monitor.alerting.tracks import HARMLESS, LARGEST
from monitor.domain.decision import View, seconds
from monitor.domain.site import Criterion, SeriesSpec

# envelope of the greatest point rain ever measured, 422 mm * D**0.475 with D in h (Paulhus 1965, Monthly Weather
# Review 93): more than this in one interval is taken for a fault of the gauge
RECORD_MM: Final = 422.0
RECORD_EXPONENT: Final = 0.475


@dataclass(frozen=True, slots=True)
class Gauge:
    """Rain by interval end, newest last, and how much of the time it covers."""

    times_s: tuple[float, ...]
    amounts_mm: tuple[float, ...]
    interval_s: float
    stamp: str
    from_s: float | None

    def total(self, window_s: float) -> tuple[float, float]:
        """(sum, coverage 0..1) of the window that ends at the newest reading."""
        end = self.times_s[-1]
        edge = end - window_s + 0.5 * self.interval_s if self.stamp == "interval_end" else end - window_s
        inside = [a for t, a in zip(self.times_s, self.amounts_mm, strict=True) if t > edge]
        if self.stamp == "interval_end":
            return sum(inside), min(1.0, len(inside) * self.interval_s / window_s)
        # counters and tips say nothing while it is dry: covered is what lies after the first reading
        known = 0.0 if self.from_s is None else min(1.0, (end - self.from_s) / window_s)
        return sum(inside), known


def read_gauge(view: View, spec: SeriesSpec, station: str, quantity: str, now_s: float) -> Gauge | None:
    """Turn readings into amounts: interval sums as they are, counters by difference with resets, events by tip."""
    times: list[float] = []
    amounts: list[float] = []
    before: float | None = None
    from_s: float | None = None
    limit = RECORD_MM * (spec.interval_s / 3600.0) ** RECORD_EXPONENT
    for reading in view.readings.get(f"{station}.{quantity}", ()):
        at = seconds(reading.observed_at)
        if at > now_s or any(f not in HARMLESS for f in reading.flags) or not 0.0 <= reading.value < LARGEST:
            continue
        amount = reading.value
        if spec.stamp == "counter":
            # a counter that falls was reset: what it shows now fell since then
            amount = 0.0 if before is None else amount - before if amount >= before else amount
            before = reading.value
        from_s = at if from_s is None else from_s
        span_h = max(spec.interval_s, at - times[-1] if times and spec.stamp == "counter" else 0.0) / 3600.0
        if amount > max(limit, RECORD_MM * span_h**RECORD_EXPONENT):
            continue
        times.append(at)
        amounts.append(amount)
    if not times:
        return None
    return Gauge(tuple(times), tuple(amounts), spec.interval_s, spec.stamp, from_s)


@dataclass(frozen=True, slots=True)
class RainSumRule:
    """Sum over the window of each level."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per gauge."""
        return tuple(_judge(self.criterion, windows, s) for s in self.criterion.stations)


@dataclass(frozen=True, slots=True)
class RainIntensityDurationRule:
    """I = c + a * D**-b, I in mm/h, D in h; crossed when any duration lies above the curve (Caine 1980)."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per gauge."""
        return tuple(_judge(self.criterion, windows, s) for s in self.criterion.stations)


def _judge(criterion: Criterion, windows: Windows, station: str) -> Assessment:
    spec = windows.site.series(station, criterion.quantity)
    if spec is None or spec.unit == "index":
        return Assessment(criterion.id, station, reason="an index has no unit: no bound may use it")
    gauge = read_gauge(windows.view, spec, station, criterion.quantity, windows.now_s)
    if gauge is None or gauge.times_s[-1] <= windows.answered_s(f"{criterion.id}|{station}"):
        return Assessment(criterion.id, station, newest_s=gauge.times_s[-1] if gauge else None)
    params = dict(criterion.params)
    needed = params.get("min_coverage", 0.8)
    facts = _curve(criterion, gauge, params) if criterion.kind == "rain_intensity_duration" else _sums(criterion, gauge)
    raise_level = max((f["level"] for f in facts if f["ratio"] > 1.0), default=0)
    # thin coverage makes the sum a lower bound: enough to raise, never to lower
    hold_level = max(
        (f["level"] for f in facts if f["ratio"] >= criterion.recover or f["coverage"] < needed), default=0
    )
    worst = max(facts, key=lambda f: float(f["ratio"]))
    reason = (
        f"rain {worst['sum_mm']:.1f} mm in {worst['duration_s'] / 3600:.4g} h is {worst['ratio']:.2f} of the bound, "
        f"coverage {worst['coverage']:.2f}"
    )
    newest_s = gauge.times_s[-1]
    return Assessment(
        criterion.id, station, raise_level, max(hold_level, raise_level), heard=True,
        fresh=windows.is_fresh(newest_s, spec), newest_s=newest_s, reason=reason,
        facts={"worst": worst, "min_coverage": needed, "durations": len(facts)},
    )  # fmt: skip


def _sums(criterion: Criterion, gauge: Gauge) -> Sequence[dict[str, Any]]:
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


def _curve(criterion: Criterion, gauge: Gauge, params: dict[str, float]) -> Sequence[dict[str, Any]]:
    from_s, to_s = params.get("duration_from_s", 3600.0), params.get("duration_to_s", 864000.0)
    level = criterion.thresholds[0].level
    steps = max(1, -int(-from_s // gauge.interval_s))
    found = []
    total, index = 0.0, len(gauge.times_s) - 1
    end = gauge.times_s[-1]
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
        count = len(gauge.times_s) - 1 - index
        coverage = (
            min(1.0, count / n) if gauge.stamp == "interval_end" else min(1.0, (end - (gauge.from_s or end)) / window_s)
        )
        found.append({
            "level": level, "duration_s": window_s, "sum_mm": total, "coverage": coverage, "bound_mm": bound_mm,
            "ratio": total / bound_mm if bound_mm > 0 else 0.0,
        })  # fmt: skip
    return found or [
        {"level": level, "duration_s": from_s, "sum_mm": 0.0, "coverage": 0.0, "bound_mm": 0.0, "ratio": 0.0}
    ]
