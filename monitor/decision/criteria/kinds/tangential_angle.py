"""Improved tangential angle against a bound in degrees per level.

The angle expresses the velocity as a multiple of the velocity of uniform creep, which a person has reviewed.
"""

from dataclasses import replace
from functools import partial
from math import radians, tan
from typing import Final

from pydantic import Field

from forecasting.kinematics.tangential_angle import tangential_angle_deg
from monitor.decision.criteria.dwell_texts import describe_dwell
from monitor.decision.criteria.fits import MIN_LINE_EPOCHS
from monitor.decision.criteria.history import longest_window
from monitor.decision.criteria.motion_components import describe_component
from monitor.decision.criteria.rates import assess_rates
from monitor.decision.series.assessment import (
    Assessment,
    DecisionContext,
    assess_usable_track,
    each_station,
    pick_bound,
)
from monitor.errors import ConfigError
from monitor.readings.cleaned.tracks import Track
from monitor.sections import Section
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.sections import (
    Direction,
    Dwelling,
    DwellTable,
    MeasuredTable,
    Sureness,
    Target,
    Window,
)
from monitor.sites.kinds import Kind
from monitor.sites.records import DEFAULT_MIN_SIGMA, Criterion, SeriesSpec, Station, Threshold
from monitor.text.message import Figure, Template

_NO_CREEP: Final = Template(
    "criterion.tangential.no_creep", "the velocity of uniform creep is not reviewed yet, so no angle can be computed"
)()
_ANGLE: Final = Template(
    "criterion.tangential",
    "tangential angle {angle} degrees ({rate} ± {error}, uniform creep is {v_eq} mm/day), {dwell}",
)
_DEGREES: Final = Template("criterion.tangential.degrees", "{n} degrees")


class AngleBound(Section):
    """The bound of one level on the tangential angle, in degrees."""

    over: float = Field(gt=0.0, lt=90.0, description="degrees")
    window: Window


class TangentialTable(MeasuredTable):
    """kind = "tangential_angle": degrees against the reviewed velocity of uniform creep."""

    direction: Direction = "downslope"
    min_sigma: Sureness = DEFAULT_MIN_SIGMA
    dwell: Dwelling = DwellTable(hits=2, of=3)

    def find_target(self, places: Places) -> Target:
        """Return stations and quantity; raise ConfigError if a station has no reviewed velocity of uniform creep."""
        chosen, quantity = super().find_target(places)
        missing = [
            station.id for station in places.stations if station.id in chosen and station.v_eq_mm_per_day is None
        ]
        if missing:
            raise ConfigError(
                f"{places.where}.stations: {', '.join(missing)}: expected v_eq_mm_per_day with v_eq_reviewed at the "
                "station; the tangential angle is computed from the reviewed velocity of uniform creep"
            )
        return chosen, quantity


def assess_angle(criterion: Criterion, context: DecisionContext, station: Station) -> Assessment:
    """Compare the tangential angle of a station with every bound.

    An angle atan(v / v_eq) exceeds a bound in degrees if the velocity exceeds v_eq tan(bound). The velocity is assessed
    like that of the kind `velocity`: no single epoch raises or lowers a level, the velocity must be at least
    `min_sigma` standard errors, jumps are subtracted, and the dwell counts epochs. `recover` is a share of the
    velocity.

    Motion in steps, caused by rain or a reservoir, exceeds every angle without a failure to follow.
    """
    v_eq = station.v_eq_mm_per_day
    if v_eq is None:
        return Assessment(criterion.id, station.id, reason=_NO_CREEP)
    return assess_usable_track(partial(_assess_angle, v_eq), criterion, context, station.id)


def _assess_angle(
    v_eq: float, criterion: Criterion, track: Track, spec: SeriesSpec, context: DecisionContext
) -> Assessment:
    velocity_criterion = replace(criterion, thresholds=to_velocities(criterion.thresholds, v_eq))
    assessment = assess_rates(velocity_criterion, track, spec, context)
    degrees = {threshold.level: threshold.over for threshold in criterion.thresholds}
    facts = []
    for rate_fact in assessment.facts["bounds"]:
        fact = {**rate_fact, "bound_deg": degrees[rate_fact["level"]]}
        if "rate" in fact:
            fact["angle_deg"] = tangential_angle_deg(fact["rate"], v_eq)
        facts.append(fact)
    reason = assessment.reason
    picked = pick_bound(facts, assessment.raise_level)
    if picked is not None:
        angle = _ANGLE(
            angle=Figure(picked["angle_deg"], ".1f"),
            rate=Figure(picked["rate"], ".2f"),
            error=Figure(picked["error"], ".2f", f"{spec.unit}/day"),
            v_eq=Figure(v_eq),
            dwell=describe_dwell(picked, _DEGREES(n=Figure(picked["bound_deg"]))),
        )
        reason = describe_component(angle, picked, criterion)
    return replace(assessment, reason=reason, facts={**assessment.facts, "bounds": facts, "v_eq_mm_per_day": v_eq})


def to_velocities(thresholds: tuple[Threshold, ...], v_eq_mm_per_day: float) -> tuple[Threshold, ...]:
    """Return bounds in degrees as bounds in mm/day.

    >>> round(to_velocities((Threshold(1, over=45.0),), 2.0)[0].over, 9)
    2.0
    """
    return tuple(
        replace(threshold, over=v_eq_mm_per_day * tan(radians(threshold.over or 0.0))) for threshold in thresholds
    )


ENTRY: Final = KindEntry(
    Kind(
        id="tangential_angle",
        quantity="displacement",
        per="/day",
        unit="degrees",
        epochs=MIN_LINE_EPOCHS,
        motion=True,
        noise_steps=True,
        followed=True,
        loosening="bounds",
        drawn=("movement",),
    ),
    TangentialTable,
    AngleBound,
    each_station(assess_angle),
    history_s=longest_window,
    example="""
stations = ["S1"]
yellow = {over = 45.0, window = "2d"}
""",
)
