"""Antecedent rain: an index of wetness, or recent rain plus a share of the rain before it."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from pydantic import Field, model_validator

from forecasting.hydrology.rain_events import antecedent_index
from monitor.decision.criteria.history import find_issue_age_s
from monitor.decision.criteria.rain_gauge import Gauge, rain_kind
from monitor.decision.criteria.rainfall import Fact, each_gauge, make_fact
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.sections import Duration
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.rain_sections import RainTable
from monitor.sites.criteria.sections import DepthBound, add_params
from monitor.sites.records import Criterion
from monitor.text.message import Template

_INDEX: Final = Template("rain.index", "antecedent index {depth} mm in {hours} h")
_RECENT: Final = Template("rain.recent", "recent and antecedent rain {depth} mm in {hours} h")


class RainAntecedentTable(RainTable):
    """kind = "rain_antecedent": sum of rain * decay**age, or recent rain + weight * rain before it, in mm."""

    decay: float | None = Field(None, gt=0.0, lt=1.0, description="per day, of the rain within `span`")
    span: Duration | None = Field(None, description="how far back")
    recent: Duration | None = Field(None, description="the recent sum, with `antecedent` and `weight`")
    antecedent: Duration | None = Field(None, description="the sum before it")
    weight: float | None = Field(default=None, gt=0.0, description="of the sum before")

    @model_validator(mode="after")
    def _one_form(self) -> "RainAntecedentTable":
        index_keys = (self.decay, self.span)
        sum_keys = (self.recent, self.antecedent, self.weight)
        is_index = None not in index_keys and all(value is None for value in sum_keys)
        is_sum = None not in sum_keys and all(value is None for value in index_keys)
        if not is_index and not is_sum:
            raise ValueError("expected either decay and span, or recent, antecedent and weight")
        return self

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with its windows in seconds."""
        span = self.span if self.span is not None else (self.recent or 0.0) + (self.antecedent or 0.0)
        windows_s = [s for s in (self.recent, self.antecedent, self.span) if s is not None]
        return add_params(
            self.join(criterion, places, windows_s),
            decay=self.decay,
            span_s=span,
            recent_s=self.recent,
            weight=self.weight,
        )


def assess_wetness(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """Compare antecedent rain in mm with every bound.

    The amount is the sum of rain * decay**days (Kohler and Linsley 1951), or P_recent + weight * P_before (Chleborad
    2000). The second form is the threshold P_recent = intercept - weight * P_before, with the intercept as the bound.
    """
    amount = _INDEX if "decay" in dict(criterion.params) else _RECENT
    return each_gauge(measure_wetness, amount)(criterion, context)


def measure_wetness(criterion: Criterion, gauge: Gauge) -> Sequence[Fact]:
    """Return one fact for each level, with the coverage of the whole span."""
    params = dict(criterion.params)
    span_s, end_s = params["span_s"], gauge.times_s[-1]
    total, coverage = gauge.total(span_s)
    parts: Fact
    if "decay" in params:
        # Expected rain counts as if it fell at the end of its time, when earlier rain has drained.
        first = bisect_right(gauge.times_s, end_s - span_s)
        index = antecedent_index(gauge.times_s[first:], gauge.amounts_mm[first:], end_s, params["decay"])
        parts = {"rain_mm": total}
    else:
        recent, _ = gauge.total(params["recent_s"])
        index = recent + params["weight"] * max(0.0, total - recent)
        parts = {"recent_mm": recent, "antecedent_mm": total - recent}
    return [make_fact(t, span_s, index, coverage, t.over or 0.0, **parts) for t in criterion.thresholds]


def find_history_s(criterion: Criterion) -> float:
    """Return the span of the index, or of recent and antecedent rain together, in seconds."""
    return max(dict(criterion.params)["span_s"], find_issue_age_s(criterion))


ENTRY: Final = KindEntry(
    rain_kind(id="rain_antecedent", per="", scaled=True),
    RainAntecedentTable,
    DepthBound,
    assess_wetness,
    history_s=find_history_s,
    example="""
series = "S1.rain"
decay = 0.9
span = "30d"
yellow = {over = 80.0}
""",
)
