"""Sum of rain over a window against a bound per level, in mm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from monitor.criteria.entry import Entry
from monitor.criteria.places import Places
from monitor.criteria.rain_gauge import RAIN_SAFE, Gauge
from monitor.criteria.rain_table import RainTable
from monitor.criteria.rainfall import Fact, judge_rain
from monitor.criteria.tables import OverBound, refuse_falling
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion, Threshold
from monitor.series.assessment import Assessment, Windows


class RainSumTable(RainTable):
    """kind = "rain_sum"."""

    def refuse_order(self, bounds: Sequence[Threshold], places: Places) -> None:
        """A smaller sum in a shorter window may well be the graver one; raises ConfigError."""
        refuse_falling(bounds, places, shorter_may=True)


@dataclass(frozen=True, slots=True)
class RainSumRule:
    """Sum over the window of each level."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per gauge."""
        return tuple(judge_rain(self.criterion, windows, s, _sums) for s in self.criterion.stations)


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


ENTRY: Final = Entry(
    Kind(
        id="rain_sum", quantity="rain", per="", trigger=True, scaled=True, loosening="bounds",
        safe_params=RAIN_SAFE, drawn=("rain",),
    ),
    RainSumTable, OverBound, RainSumRule,
    example="""
series = "S1.rain"
yellow = {over = 30.0, window = "1d"}
""",
)  # fmt: skip
