"""Velocities of a station over the windows of its criteria, and the bounds of these criteria."""

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from forecasting.kinematics.velocity import find_inverse, fit_velocity
from monitor.alerts.queries.overview import load_range
from monitor.decision.headline import StationRate
from monitor.errors import RefusedError
from monitor.readings.cleaned.tracks import COMPONENTS, SCALARS, Track, make_motion_tracker
from monitor.readings.queries.observations import load_ids
from monitor.sites.records import Site
from monitor.text.instants import epoch_s, format_iso, from_epoch_s

# Velocities of one curve.
POINTS: Final = 150
# Epochs of one fit. Of a window with more epochs, evenly spaced ones are fitted.
MAX_FITTED_EPOCHS: Final = 300


def find_bounds(site: Site | None, station: str) -> list[Mapping[str, Any]]:
    """Return the bounds to draw with the movement of a station: velocity, acceleration, tangential angle."""
    criteria = () if site is None else site.criteria
    return [
        {
            "kind": criterion.kind.id,
            "criterion": criterion.id,
            "level": threshold.level,
            "value": threshold.over,
            "window_s": threshold.window_s,
        }
        for criterion in criteria
        if "movement" in criterion.kind.drawn and station in criterion.stations
        for threshold in criterion.thresholds
        if threshold.over is not None
    ]


def rank_rate(rate: StationRate) -> tuple[int, float]:
    """Return a sort key: by the level that a counted vote requests, then by the share of the bound.

    The level of a site rests on the rate with the highest key.
    """
    return (rate.level if rate.counted else 0, rate.share)


def find_rates(
    c: Connection,
    site: Site | None,
    station: str,
    from_at: datetime,
    to_at: datetime,
    now: datetime,
    points: int = POINTS,
) -> list[Mapping[str, Any]]:
    """Return the velocity in mm/day over each window of the velocity criteria of a station, as columns by window.

    The time of a velocity is the newest epoch of its window. Velocities are fitted to the cleaned series that the
    evaluation reads, so that a jump of the instrument does not count as motion. The list is empty if the station has no
    displacement in mm, or if the range contains too many readings.
    """
    if site is None:
        return []
    criterion_by_window_s = {
        threshold.window_s: criterion.id
        for criterion in site.criteria
        if criterion.kind.velocity and station in criterion.stations
        for threshold in criterion.thresholds
        if threshold.window_s
    }
    start = from_epoch_s(epoch_s(from_at) - max(criterion_by_window_s, default=0.0))
    track = _load_track(c, site, station, start, to_at, now)
    if track is None:
        return []
    return [
        _fit_velocities(track, criterion, window_s, epoch_s(from_at), points)
        for window_s, criterion in sorted(criterion_by_window_s.items())
    ]


def _load_track(
    c: Connection, site: Site, station: str, from_at: datetime, to_at: datetime, known_at: datetime
) -> Track | None:
    """Load the track of a station from its components, or else from its first scalar displacement.

    Return None if the station has neither, if the unit is not mm, or if the range contains too many readings.
    """
    declared_station = site.station(station)
    if declared_station is None:
        return None
    ids = load_ids(c, site.id)
    stored = [quantity for quantity in (*COMPONENTS, *SCALARS) if (station, quantity) in ids]
    is_vector = set(COMPONENTS[:2]) <= set(stored)
    if is_vector:
        quantities = [name for name in stored if name in COMPONENTS]
    else:
        quantities = [name for name in stored if name in SCALARS][:1]
    spec = declared_station.find_series(quantities[0]) if quantities else None
    if spec is None or spec.unit != "mm":
        return None
    try:
        readings = {
            f"{station}.{quantity}": tuple(load_range(c, ids[station, quantity], from_at, to_at, known_at))
            for quantity in quantities
        }
    except RefusedError:
        # The range contains more readings than one request may read.
        return None
    quantity = "displacement" if is_vector else quantities[0]
    return make_motion_tracker(site, declared_station, quantity).track(readings, epoch_s(known_at))


def _fit_velocities(
    track: Track, criterion: str, window_s: float, from_s: float, points: int = POINTS
) -> Mapping[str, Any]:
    """Fit the velocity over windows that end at about `points` epochs of a track, from an instant on.

    The inverse velocity is None if the velocity cannot be distinguished from zero.
    """
    times_s = track.times_s
    ends = range(bisect_right(times_s, from_s), len(times_s))
    interval = max(1, len(ends) // points)
    columns: Mapping[str, Any] = {
        "criterion": criterion,
        "window_s": window_s,
        "at": [],
        "rate": [],
        "error": [],
        "inverse": [],
    }
    for last in sorted({*ends[::interval], *ends[-1:]}):
        first = bisect_right(times_s, times_s[last] - window_s)
        thinning = max(1, (last + 1 - first) // MAX_FITTED_EPOCHS)
        # Counted from the end, so that the newest epoch is included.
        chosen = range(last, first - 1, -thinning)[::-1]
        fit = fit_velocity(
            [times_s[i] for i in chosen], [track.along[i] for i in chosen], [track.along_sigma[i] for i in chosen]
        )
        if fit is not None:
            columns["at"].append(format_iso(from_epoch_s(times_s[last])))
            columns["rate"].append(fit.rate)
            columns["error"].append(fit.error)
            columns["inverse"].append(find_inverse(fit))
    return columns
