"""Water that falls faster than the slope behind it can drain: reservoir, lake, river or pit water."""

from dataclasses import replace
from typing import Final

from monitor.decision.criteria.fits import MIN_LINE_EPOCHS
from monitor.decision.criteria.history import longest_window
from monitor.decision.criteria.rates import assess_rates
from monitor.decision.series.assessment import Assessment, DecisionContext, measure_nothing, open_track, pick_bound
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import OverBound, RecoveringTable, Sureness
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion
from monitor.text.message import Duration, Figure, Template

_FALLS: Final = Template(
    "criterion.drawdown", "water falls {rate} ± {error} in {window}, bound {bound}, level {height}"
)


class DrawdownTable(RecoveringTable):
    """kind = "drawdown": how fast water falls, m/day."""

    min_sigma: Sureness = 3.0


def assess_drawdown(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """The error-aware rate of a water level, in m per day and downwards, against `over`; rising water never crosses.

    The gauge may stand off the slope: its station need not be `on_slope`.
    """
    return tuple(_assess_gauge(criterion, context, s) for s in criterion.stations)


def _assess_gauge(criterion: Criterion, context: DecisionContext, station: str) -> Assessment:
    found = open_track(context, criterion, station)
    if isinstance(found, Assessment):
        return found
    track, spec = found
    falling = tuple(replace(t, over=None, under=-(t.over or 0.0)) for t in criterion.thresholds)
    # water that falls is no motion of the slope: it neither accuses nor clears a reference
    assessment = replace(
        assess_rates(replace(criterion, thresholds=falling), track, spec, context), measure=measure_nothing
    )
    if (fact := pick_bound(assessment.facts["bounds"], assessment.raise_level)) is None:
        return assessment
    per_day = f"{spec.unit}/day"
    reason = _FALLS(
        rate=Figure(-fact["rate"], ".3g"),
        error=Figure(fact["error"], ".2g", per_day),
        window=Duration(fact["window_s"]),
        bound=Figure(-fact["bound"], "g", per_day),
        height=Figure(track.along[-1], ".2f", spec.unit),
    )
    facts = {**assessment.facts, "drawdown_per_day": -fact["rate"], "level_now": track.along[-1]}
    return replace(assessment, reason=reason, facts=facts)


ENTRY: Final = KindEntry(
    Kind(
        id="drawdown",
        quantity="reservoir_level",
        per="/day",
        epochs=MIN_LINE_EPOCHS,
        followed=True,
        trigger=True,
        scaled=True,
        loosening="bounds",
        drawn=("rain",),
    ),
    DrawdownTable,
    OverBound,
    assess_drawdown,
    history_s=longest_window,
    example="""
stations = ["S1"]
yellow = {over = 0.5, window = "1d"}
""",
)
