"""Intensity of rain over its duration against a curve: I = c + a * D**-b (Caine 1980)."""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Final

from pydantic import Field

from forecasting.hydrology.rain_events import event_span_s
from monitor.decision.criteria.history import find_issue_age_s
from monitor.decision.criteria.rain_gauge import RAIN_SAFE_PARAMS, Gauge
from monitor.decision.criteria.rainfall import Fact, each_gauge, make_fact, make_facts
from monitor.sections import Duration
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places, find_series, refuse_index
from monitor.sites.criteria.rain_sections import (
    DEFAULT_FORECAST_VALID_S,
    DEFAULT_MIN_COVERAGE,
    Coverage,
    ExpectedRain,
    IssueAge,
    join_rain,
)
from monitor.sites.criteria.sections import CriterionTable, LevelName, Recovery, Target, add_params
from monitor.sites.kinds import Kind
from monitor.sites.records import DEFAULT_RECOVER, Criterion


class RainCurveTable(CriterionTable):
    """kind = "rain_intensity_duration": I = c + a * D**-b, I in mm/h, D in h."""

    series: str = Field(description="the gauge, `STATION.rain`")
    a: float = Field(gt=0.0, description="I = c + a D^-b, mm/h and h")
    b: float = Field(gt=0.0, description="of that curve")
    c: float = Field(0.0, description="of that curve")
    duration: tuple[Duration, Duration] = Field(description="[from, to]: durations that are compared")
    dry_gap: Duration | None = Field(None, description="only in the rain event that runs now; it ends after so long")
    dry_mm: float = Field(default=0.0, ge=0.0, description="with no more rain than this")
    forecast: ExpectedRain = Field(default_factory=dict)
    forecast_valid: IssueAge = DEFAULT_FORECAST_VALID_S
    min_coverage: Coverage = DEFAULT_MIN_COVERAGE
    level: LevelName
    recover: Recovery = DEFAULT_RECOVER

    def find_target(self, places: Places) -> Target:
        """Return the station and the quantity of the gauge."""
        station, spec = find_series(self.series, places.stations, f"{places.where}.series")
        refuse_index(spec, f"{places.where}.series")
        return (station,), spec.quantity

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with the curve, its durations, the expected rain and the end of an event."""
        from_s, to_s = self.duration
        criterion = add_params(
            criterion,
            min_coverage=self.min_coverage,
            a=self.a,
            b=self.b,
            c=self.c,
            duration_from_s=from_s,
            duration_to_s=to_s,
        )
        joined = join_rain(criterion, places, self.forecast, self.forecast_valid, self.duration[1:])
        return add_params(joined, dry_gap_s=self.dry_gap, dry_mm=self.dry_mm)


def measure_curve(criterion: Criterion, gauge: Gauge) -> Sequence[Fact]:
    """Return one fact for each duration, in whole intervals of the gauge, that ends at the newest amount.

    The bound is crossed if the sum of one of the durations is above the curve. With `dry_gap`, only durations within
    the present rain event are compared. Pages draw the facts as points beside the curve.
    """
    params = dict(criterion.params)
    from_s, to_s = params["duration_from_s"], params["duration_to_s"]
    threshold = criterion.thresholds[0]
    end_s = gauge.times_s[-1]
    event_s: float | None = None
    if "dry_gap_s" in params:
        event_s = event_span_s(
            gauge.times_s, gauge.amounts_mm, gauge.interval_s, gauge.stamp, params["dry_gap_s"], params["dry_mm"]
        )
        if event_s > 0.0 and gauge.expected_reach_s > 0.0:
            event_s += gauge.expected_reach_s - gauge.interval_s
        to_s = min(to_s, event_s)
    # The shortest duration, in intervals: not below the declared one, nor below the reach of expected rain.
    fewest = max(1, ceil(from_s / gauge.interval_s), ceil(gauge.expected_reach_s / gauge.interval_s))
    count = int(to_s / gauge.interval_s)
    measured: list[tuple[float, float, float, float]] = []
    times_s = gauge.times_s
    newest = len(times_s) - 1
    total_mm = 0.0
    index = newest
    bounds_mm = _list_bounds_mm(params.get("c", 0.0), params["a"], params["b"], gauge.interval_s, count)
    for n in range(1, count + 1):
        window_s = n * gauge.interval_s
        # The sums of all durations are accumulated in one pass from the newest amount backwards.
        while index >= 0 and times_s[index] > end_s - window_s + gauge.end_tolerance_s:
            total_mm += gauge.amounts_mm[index]
            index -= 1
        if n >= fewest:
            coverage = gauge.coverage(newest - index, end_s, window_s)
            measured.append((window_s, total_mm, coverage, bounds_mm[n - 1]))
    facts = make_facts(threshold, measured)
    if event_s is not None:
        facts = [{**fact, "event_s": event_s} for fact in facts]
    return facts or [_make_fact_without_event(criterion, gauge, max(from_s, gauge.expected_reach_s), event_s)]


@lru_cache(maxsize=64)
def _list_bounds_mm(c: float, a: float, b: float, interval_s: float, count: int) -> tuple[float, ...]:
    """Return the sum in mm on the curve for one interval, two intervals and so on up to `count`."""
    durations_h = [n * interval_s / 3600.0 for n in range(1, count + 1)]
    return tuple([(c + a * hours**-b) * hours for hours in durations_h])


def _make_fact_without_event(criterion: Criterion, gauge: Gauge, span_s: float, event_s: float | None) -> Fact:
    """Return the fact for a time without a rain event, or with an event shorter than every duration of the curve.

    Its coverage shows whether the dry time was measured.
    """
    total_mm, coverage = gauge.total(max(span_s, dict(criterion.params).get("dry_gap_s", 0.0)))
    event = {} if event_s is None else {"event_s": event_s}
    return make_fact(criterion.thresholds[0], span_s, total_mm, 0.0 if event_s is None else coverage, 0.0, **event)


def find_history_s(criterion: Criterion) -> float:
    """Return the longest duration that is compared with the curve, in seconds."""
    params = dict(criterion.params)
    return max(params["duration_to_s"], params.get("dry_gap_s", 0.0), find_issue_age_s(criterion))


ENTRY: Final = KindEntry(
    Kind(
        id="rain_intensity_duration",
        trigger=True,
        scaled=True,
        scaled_params=("a", "c"),
        loosening="bounds",
        safe_params=(*RAIN_SAFE_PARAMS, ("a", "lower"), ("c", "lower")),
        drawn=("rain", "curve"),
    ),
    RainCurveTable,
    None,
    each_gauge(measure_curve),
    history_s=find_history_s,
    example="""
series = "S1.rain"
a = 14.8
b = 0.39
duration = ["1h", "3d"]
level = "yellow"
""",
)
