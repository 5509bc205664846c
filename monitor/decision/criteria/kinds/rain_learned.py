"""Rain threshold that was learned from events of the same slope.

A level lasts for the lag: the time before an event within which rain counts.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydantic import Field

from monitor.decision.criteria.history import find_issue_age_s, longest_window
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
    """kind = "rain_learned": the threshold that `slopeward sites thresholds learn` prints for the site."""

    window: Window
    lag: Duration = Field(description="how long before an event rain counts")
    over: float = Field(gt=0.0, description="mm, as `slopeward sites thresholds learn` prints it")
    events: int = Field(ge=1, description="number of events that it was learned from")
    level: LevelName

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with its single bound, which the table declares beside `level`."""
        (level,) = criterion.thresholds
        learned = replace(criterion, thresholds=(replace(level, over=self.over, window_s=self.window),))
        return add_params(super().complete(learned, places), lag_s=self.lag, events=self.events)


def measure_learned(criterion: Criterion, gauge: Gauge) -> Sequence[Fact]:
    """Return one fact: the largest sum within the lag, with the smallest coverage of all its windows.

    `slopeward sites thresholds learn` counts the events in the same way.
    """
    params = dict(criterion.params)
    threshold = criterion.thresholds[0]
    window_s = threshold.effective_window_s
    lag_s = params["lag_s"]
    newest_s = gauge.times_s[-1]
    counted_s = max(lag_s, gauge.interval_s)
    first = bisect_right(gauge.times_s, newest_s - counted_s)
    sums = []
    for end_s in gauge.times_s[first:]:
        total_mm, window_coverage = gauge.total_at(end_s, window_s)
        sums.append((total_mm, window_coverage, end_s))
    largest_mm, _, largest_s = max(sums)
    # Missing rain anywhere within the lag may hide a sum above the bound.
    coverage = min(1.0, *(window_coverage for _, window_coverage, _ in sums))
    if gauge.stamp == "interval_end":
        measured_s = len(sums) * gauge.interval_s
        if gauge.expected_reach_s > 0.0:
            measured_s += gauge.expected_reach_s - gauge.interval_s
        coverage = min(coverage, measured_s / counted_s)
    further = {"lag_s": lag_s, "crossed_s": largest_s, "events": params["events"]}
    return [make_fact(threshold, window_s, largest_mm, coverage, threshold.over or 0.0, **further)]


def find_history_s(criterion: Criterion) -> float:
    """Return window plus lag in seconds: the oldest window ends one lag before the newest reading."""
    return max(longest_window(criterion) + dict(criterion.params)["lag_s"], find_issue_age_s(criterion))


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
