"""Improved tangential angle against degrees per level: velocity in units of the reviewed velocity of uniform creep."""

from dataclasses import replace
from math import radians, tan
from typing import Final

from pydantic import Field

from forecasting.kinematics.stages import tangential_angle_deg
from monitor.decision.criteria.dwell_texts import describe_dwell
from monitor.decision.criteria.fits import MIN_LINE_EPOCHS
from monitor.decision.criteria.history import longest_window
from monitor.decision.criteria.rates import assess_rates
from monitor.decision.criteria.ways import describe_way
from monitor.decision.series.assessment import Assessment, DecisionContext, each_station, open_track, pick_bound
from monitor.errors import ConfigError
from monitor.sections import Section
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.sections import Direction, Dwelling, DwellTable, MeasuredTable, Sureness, Target, Window
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion, Station, Threshold
from monitor.text.message import Figure, Template

_NO_CREEP: Final = Template(
    "criterion.tangential.no_creep", "its velocity of uniform creep is not reviewed yet: no angle is known"
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
    min_sigma: Sureness = 3.0
    dwell: Dwelling = DwellTable(hits=2, of=3)

    def find_target(self, places: Places) -> Target:
        """It stands and falls with the velocity of uniform creep: no station without a reviewed one."""
        chosen, quantity = super().find_target(places)
        missing = [s.id for s in places.stations if s.id in chosen and s.v_eq_mm_per_day is None]
        if missing:
            raise ConfigError(
                f"{places.where}.stations: {', '.join(missing)}: expected v_eq_mm_per_day with v_eq_reviewed at the "
                "station; without a reviewed velocity of uniform creep a tangential angle means nothing"
            )
        return chosen, quantity


def assess_angle(criterion: Criterion, context: DecisionContext, station: Station) -> Assessment:
    """An angle of atan(v / v_eq) over the bound is a velocity over v_eq tan(bound), and is judged as one.

    So the angle inherits all that guards a velocity: no single epoch raises or lowers it, it must be real by
    `min_sigma` standard errors, open jumps are taken out, dwell counts data epochs. `recover` is a share of the
    velocity that the angle stands for. Motion in steps (rain, reservoir) passes every angle without a failure to come.
    """
    if station.v_eq_mm_per_day is None:
        return Assessment(criterion.id, station.id, reason=_NO_CREEP)
    found = open_track(context, criterion, station.id)
    if isinstance(found, Assessment):
        return found
    track, spec = found
    as_rates = replace(criterion, thresholds=to_velocities(criterion.thresholds, station.v_eq_mm_per_day))
    assessment = assess_rates(as_rates, track, spec, context)
    degrees = {t.level: t.over for t in criterion.thresholds}
    facts = [
        f
        | {"bound_deg": degrees[f["level"]]}
        | ({"angle_deg": tangential_angle_deg(f["rate"], station.v_eq_mm_per_day)} if "rate" in f else {})
        for f in assessment.facts["bounds"]
    ]
    reason = assessment.reason
    if (fact := pick_bound(facts, assessment.raise_level)) is not None:
        angle = _ANGLE(
            angle=Figure(fact["angle_deg"], ".1f"),
            rate=Figure(fact["rate"], ".2f"),
            error=Figure(fact["error"], ".2f", f"{spec.unit}/day"),
            v_eq=Figure(station.v_eq_mm_per_day),
            dwell=describe_dwell(fact, _DEGREES(n=Figure(fact["bound_deg"]))),
        )
        reason = describe_way(angle, fact, criterion)
    return replace(
        assessment,
        reason=reason,
        facts={**assessment.facts, "bounds": facts, "v_eq_mm_per_day": station.v_eq_mm_per_day},
    )


def to_velocities(thresholds: tuple[Threshold, ...], v_eq_mm_per_day: float) -> tuple[Threshold, ...]:
    """Bounds in degrees as bounds in mm/day.

    >>> round(to_velocities((Threshold(1, over=45.0),), 2.0)[0].over, 9)
    2.0
    """
    return tuple(replace(t, over=v_eq_mm_per_day * tan(radians(t.over or 0.0))) for t in thresholds)


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
