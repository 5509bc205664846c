"""Velocity of displacement against a bound per level: along the declared direction, or the speed without one."""

from typing import Final

from monitor.decision.criteria.fits import (
    MIN_JOINT_STATIONS,
    MIN_LINE_EPOCHS,
    fit_lines_together,
    is_fitted_as_signed_value,
)
from monitor.decision.criteria.history import longest_window
from monitor.decision.criteria.rates import assess_rates
from monitor.decision.series.assessment import Assessment, DecisionContext, each_track, stations_of
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import Direction, FastTrack, MeasuredTable, SpeedBound, Sureness
from monitor.sites.kinds import Kind
from monitor.sites.records import DEFAULT_MIN_SIGMA, Criterion


class VelocityTable(MeasuredTable):
    """kind = "velocity"."""

    direction: Direction = "downslope"
    min_sigma: Sureness = DEFAULT_MIN_SIGMA
    fast_track: FastTrack = None


_assess_each_track: Final = each_track(assess_rates)


def assess_velocities(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """Assess every station of a criterion. Stations with the same epochs are fitted together, which is faster."""
    tracks = [context.track(criterion, station.id) for station in stations_of(context, criterion)]
    signed_tracks = [t for t in tracks if t.times_s and is_fitted_as_signed_value(t) and not t.digits]
    if len(signed_tracks) >= MIN_JOINT_STATIONS:
        for window_s in {bound.window_s for bound in criterion.bounds}:
            fit_lines_together(signed_tracks, window_s)
    return _assess_each_track(criterion, context)


ENTRY: Final = KindEntry(
    Kind(
        id="velocity",
        quantity="displacement",
        per="/day",
        epochs=MIN_LINE_EPOCHS,
        motion=True,
        velocity=True,
        rate=True,
        followed=True,
        scaled=True,
        loosening="bounds",
        drawn=("ray", "movement"),
    ),
    VelocityTable,
    SpeedBound,
    assess_velocities,
    history_s=longest_window,
    example="""
stations = ["*"]
yellow = {over = 5.0, window = "1d"}
""",
)
