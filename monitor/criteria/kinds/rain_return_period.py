"""How rare the rain of a window is: bounds in years, from the site's own annual maxima or from given quantiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from forecasting.hydrology.return_period import Extremes, years_of_depth
from monitor.criteria.entry import Entry
from monitor.criteria.rain_gauge import RAIN_SAFE, Gauge
from monitor.criteria.rainfall import Fact, judge_rain
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion
from monitor.series.assessment import Assessment, Windows


@dataclass(frozen=True, slots=True)
class RainReturnPeriodRule:
    """The sum against the depth of the return period; the depths were fitted when the site file was read."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per gauge."""
        return tuple(judge_rain(self.criterion, windows, s, measure_rarity) for s in self.criterion.stations)


def measure_rarity(criterion: Criterion, gauge: Gauge) -> Sequence[Fact]:
    """One fact per level, with the return period of what fell where it is known."""
    params = dict(criterion.params)
    found = []
    for threshold in criterion.thresholds:
        window_s = threshold.window_s or 86400.0
        total, coverage = gauge.total(window_s)
        bound = threshold.over or 0.0
        years = _years(params, window_s, total)
        asked = params[f"years:{threshold.level}"]
        found.append({
            "level": threshold.level, "duration_s": window_s, "sum_mm": total, "coverage": coverage, "bound_mm": bound,
            "ratio": total / bound if bound > 0 else 0.0, "bound_years": asked, "years": years,
            "note": f" of {asked:g} years" + ("" if years is None else f" (now {years:.3g} years)"),
        })  # fmt: skip
    return found


def _years(params: Mapping[str, float], window_s: float, total_mm: float) -> float | None:
    """Return period of a sum; None where it is beyond twice the record, or outside the given quantiles."""
    key = f"{window_s:g}"
    if f"scale:{key}" in params:
        record = params[f"record:{key}"]
        fitted = Extremes(params[f"location:{key}"], params[f"scale:{key}"], params[f"shape:{key}"], int(record))
        years = fitted.return_years(total_mm)
        return years if years <= 2.0 * record else None
    prefix = f"quantile:{key}:"
    known = [(float(k.removeprefix(prefix)), v) for k, v in params.items() if k.startswith(prefix)]
    return years_of_depth(known, total_mm)


ENTRY: Final = Entry(
    Kind(
        id="rain_return_period", quantity="rain", trigger=True, loosening="bounds", safe_params=RAIN_SAFE,
        drawn=("rain",),
    ),
    RainReturnPeriodRule,
)  # fmt: skip
