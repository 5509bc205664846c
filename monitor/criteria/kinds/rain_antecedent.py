"""How wet the slope already is: an antecedent index, or recent rain together with a share of the rain before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from forecasting.hydrology.rain_events import antecedent_index
from monitor.criteria.entry import Entry
from monitor.criteria.rain_gauge import RAIN_SAFE, Gauge
from monitor.criteria.rainfall import Fact, judge_rain
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion
from monitor.series.assessment import Assessment, Windows


@dataclass(frozen=True, slots=True)
class RainAntecedentRule:
    """Sum of rain * decay**days (Kohler and Linsley 1951), or P_recent + weight * P_before (Chleborad 2000), in mm.

    The second form is the line P_recent = intercept - weight * P_before of cumulative-rain thresholds, its intercept
    being the bound.
    """

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per gauge."""
        return tuple(judge_rain(self.criterion, windows, s, measure_wetness) for s in self.criterion.stations)


def measure_wetness(criterion: Criterion, gauge: Gauge) -> Sequence[Fact]:
    """One fact per level; coverage is that of the whole span."""
    params = dict(criterion.params)
    span_s, end_s = params["span_s"], gauge.times_s[-1]
    total, coverage = gauge.total(span_s)
    parts: Fact
    if "decay" in params:
        # expected rain is taken to fall at its end: older rain has then drained, what is to come has not
        edge = end_s - span_s
        inside = [(t, a) for t, a in zip(gauge.times_s, gauge.amounts_mm, strict=True) if t > edge]
        index = antecedent_index([t for t, _ in inside], [a for _, a in inside], end_s, params["decay"])
        parts = {"what": "antecedent index", "rain_mm": total}
    else:
        recent, _ = gauge.total(params["recent_s"])
        index = recent + params["weight"] * max(0.0, total - recent)
        parts = {"what": "recent and antecedent rain", "recent_mm": recent, "antecedent_mm": total - recent}
    return [
        {
            "level": t.level, "duration_s": span_s, "sum_mm": index, "coverage": coverage, "bound_mm": t.over or 0.0,
            "ratio": index / t.over if t.over else 0.0, **parts,
        }
        for t in criterion.thresholds
    ]  # fmt: skip


ENTRY: Final = Entry(
    Kind(
        id="rain_antecedent", quantity="rain", per="", trigger=True, scaled=True, loosening="bounds",
        safe_params=RAIN_SAFE, drawn=("rain",),
    ),
    RainAntecedentRule,
)  # fmt: skip
