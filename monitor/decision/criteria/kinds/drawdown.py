"""Rate at which the water of a reservoir, lake, river or pit falls.

If the water falls faster than the slope drains, pore pressure remains high while the support of the water is lost.
"""

from dataclasses import replace
from typing import Final

from monitor.decision.criteria.fits import MIN_LINE_EPOCHS
from monitor.decision.criteria.history import longest_window
from monitor.decision.criteria.rates import assess_rates
from monitor.decision.series.assessment import (
    Assessment,
    DecisionContext,
    assess_usable_track,
    measure_nothing,
    pick_bound,
)
from monitor.readings.cleaned.tracks import Track
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import OverBound, RecoveringTable, Sureness
from monitor.sites.kinds import Kind
from monitor.sites.records import DEFAULT_MIN_SIGMA, Criterion, SeriesSpec
from monitor.text.message import Duration, Figure, Template

_FALLS: Final = Template(
    "criterion.drawdown", "water falls {rate} ± {error} in {window}, bound {bound}, water level {height}"
)


class DrawdownTable(RecoveringTable):
    """kind = "drawdown": the rate at which water falls, in m/day."""

    min_sigma: Sureness = DEFAULT_MIN_SIGMA


def assess_drawdown(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """Compare the rate at which each water level falls, in m/day, with every bound. Rising water never exceeds one.

    The station of the gauge need not be `on_slope`.
    """
    return tuple(assess_usable_track(_assess_gauge, criterion, context, station) for station in criterion.stations)


def _assess_gauge(criterion: Criterion, track: Track, spec: SeriesSpec, context: DecisionContext) -> Assessment:
    falling = tuple(replace(t, over=None, under=-(t.over or 0.0)) for t in criterion.thresholds)
    assessment = assess_rates(replace(criterion, thresholds=falling), track, spec, context)
    # Falling water is no motion of the slope, so it must not be compared with the motion of a reference.
    assessment = replace(assessment, measure=measure_nothing)
    fact = pick_bound(assessment.facts["bounds"], assessment.raise_level)
    if fact is None:
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
