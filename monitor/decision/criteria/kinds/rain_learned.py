"""A rain threshold that was learned from this slope's own events, and stands for as long as its lag."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydantic import Field

from monitor.decision.criteria.history import issue_age, longest_window
from monitor.decision.criteria.rain_gauge import Gauge, rain_kind
from monitor.decision.criteria.rainfall import Fact, each_gauge, make_fact
from monitor.sections import Duration
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.rain_sections import RainTable
from monitor.sites.criteria.sections import LevelName, Window, add_params
from monitor.sites.records import Criterion
from monitor.text.message import Template

_LARGEST: Final = Template("rain.largest", "largest rain within the lag, {depth} mm in {hours} h")


class RainLearnedTable(RainTable):
    """kind = "rain_learned": what `slopeward sites thresholds learn` found on the site's own events."""

    window: Window
    lag: Duration = Field(description="how long before an event rain counts")
    over: float = Field(gt=0.0, description="mm, as `slopeward sites thresholds learn` prints it")
    events: int = Field(ge=1, description="that it was learnt from")
    level: LevelName

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """With its one bound, which stands beside `level`."""
        (level,) = criterion.thresholds
        learned = replace(criterion, thresholds=(replace(level, over=self.over, window_s=self.window),))
        return add_params(super().complete(learned, places), lag_s=self.lag, events=self.events)


def measure_learned(criterion: Criterion, gauge: Gauge) -> Sequence[Fact]:
    """One fact: the largest sum within the lag, and the thinnest coverage of all its windows.

    So `slopeward sites thresholds learn` counted it.
    """
    params = dict(criterion.params)
    threshold = criterion.thresholds[0]
    window_s, lag_s, end_s = threshold.effective_window_s, params["lag_s"], gauge.times_s[-1]
    first = bisect_right(gauge.times_s, end_s - max(lag_s, gauge.interval_s))
    sums = [(*gauge.total_at(t, window_s), t) for t in gauge.times_s[first:]]
    total, _, at_s = max(sums)
    # thin data anywhere within the lag may hide a crossing
    coverage = min(c for _, c, _ in sums)
    held = 1.0
    if gauge.stamp == "interval_end":
        known_s = len(sums) * gauge.interval_s + (gauge.block_s - gauge.interval_s if gauge.block_s > 0.0 else 0.0)
        held = min(1.0, known_s / max(lag_s, gauge.interval_s))
    further = {"lag_s": lag_s, "crossed_s": at_s, "events": params["events"]}
    return [make_fact(threshold, window_s, total, min(coverage, held), threshold.over or 0.0, **further)]


def find_history_s(criterion: Criterion) -> float:
    """Return the window and the lag together, in seconds: the oldest window ends a lag before the newest reading."""
    return max(longest_window(criterion) + dict(criterion.params)["lag_s"], issue_age(criterion))


ENTRY: Final = KindEntry(
    rain_kind(id="rain_learned", scaled=True),
    RainLearnedTable,
    None,
    each_gauge(measure_learned, _LARGEST),
    history_s=find_history_s,
    example="""
series = "S1.rain"
window = "1d"
lag = "2d"
over = 33.0
events = 5
level = "yellow"
""",
)
