"""A rain threshold that was learned from this slope's own events, and stands for as long as its lag."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from pydantic import Field

from forecasting.message import Template
from monitor.criteria.entry import Entry
from monitor.criteria.places import Places
from monitor.criteria.rain_gauge import RAIN_SAFE, Gauge
from monitor.criteria.rain_table import RainTable
from monitor.criteria.rainfall import Fact, judge_rain
from monitor.criteria.tables import add_params
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion
from monitor.domain.terms import Duration
from monitor.series.assessment import Assessment, Windows

_LARGEST: Final = Template("rain.largest", "largest rain within the lag, {depth} mm in {hours} h")


class RainLearnedTable(RainTable):
    """kind = "rain_learned": what `slopeward thresholds learn` found on the site's own events."""

    window: Duration
    lag: Duration
    over: float = Field(gt=0.0)
    events: int = Field(ge=1)
    level: str

    def list_windows(self) -> list[float]:
        """Its window in seconds."""
        return [self.window]

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """With its one bound, which stands beside `level`."""
        (level,) = criterion.thresholds
        learned = replace(
            super().complete(criterion, places), thresholds=(replace(level, over=self.over, window_s=self.window),)
        )
        return add_params(learned, lag_s=self.lag, events=self.events, history_s=self.window + self.lag)


@dataclass(frozen=True, slots=True)
class RainLearnedRule:
    """The largest sum over the window that ended within the lag, as `slopeward thresholds learn` counted it."""

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer per gauge."""
        return tuple(judge_rain(self.criterion, windows, s, measure_learned, _LARGEST) for s in self.criterion.stations)


def measure_learned(criterion: Criterion, gauge: Gauge) -> Sequence[Fact]:
    """One fact: the largest sum within the lag, and the thinnest coverage of all its windows."""
    params = dict(criterion.params)
    threshold = criterion.thresholds[0]
    window_s, lag_s, end_s = threshold.window_s or 86400.0, params["lag_s"], gauge.times_s[-1]
    first = bisect_right(gauge.times_s, end_s - max(lag_s, gauge.interval_s))
    sums = [(*gauge.total_at(t, window_s), t) for t in gauge.times_s[first:]]
    total, _, at_s = max(sums)
    # thin data anywhere within the lag may hide a crossing
    coverage = min(c for _, c, _ in sums)
    held = 1.0
    if gauge.stamp == "interval_end":
        known_s = len(sums) * gauge.interval_s + (gauge.block_s - gauge.interval_s if gauge.block_s > 0.0 else 0.0)
        held = min(1.0, known_s / max(lag_s, gauge.interval_s))
    bound = threshold.over or 0.0
    return [{
        "level": threshold.level, "duration_s": window_s, "sum_mm": total, "coverage": min(coverage, held),
        "bound_mm": bound, "ratio": total / bound if bound > 0 else 0.0, "lag_s": lag_s, "crossed_s": at_s,
        "events": params["events"],
    }]  # fmt: skip


ENTRY: Final = Entry(
    Kind(
        id="rain_learned", quantity="rain", trigger=True, scaled=True, loosening="bounds",
        safe_params=RAIN_SAFE, drawn=("rain",),
    ),
    RainLearnedTable, None, RainLearnedRule,
    example="""
series = "S1.rain"
window = "1d"
lag = "2d"
over = 33.0
events = 5
level = "yellow"
""",
)  # fmt: skip
