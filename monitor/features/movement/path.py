"""The path of a series: displacement along the movement in mm, from the cleaned series."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Final

from sqlalchemy import Connection

from forecasting.kinematics.direction import norm
from monitor.api.decision import (
    DecisionContext,
    DecisionInputs,
    EvaluationCache,
    Memory,
    PreparedSite,
    Track,
    Tracker,
    Vector,
    make_motion_tracker,
)
from monitor.api.queries.readings import find_epoch, load_readings
from monitor.api.readings import Reading
from monitor.api.sites import Site
from monitor.api.text import epoch_s
from monitor.features.movement.moving_series import MAX_READINGS, MovementSeries, find_history_s

# The length of a movement without a declared direction is measured from the mean of the first epochs.
ORIGIN_EPOCHS: Final = 10


@dataclass(frozen=True, slots=True)
class Path:
    """Displacement along the movement in mm, cleaned, oldest first."""

    times_s: tuple[float, ...]  # usable epochs, epoch seconds, shape (n,)
    # signed downslope (or the only component), or the length if no direction is declared, shape (n,)
    values: tuple[float, ...]
    sigmas: tuple[float, ...]  # one standard deviation each, 0 = unknown, shape (n,)
    jumps: int  # number of jumps that were subtracted, whatever people answered about them
    stuck: bool  # whether the instrument repeats one value
    silence_s: float  # allowed silence of the series
    ahead_s: float = 0.0  # by how much the newest epoch is later than its reception, if the clock is a little fast

    def is_fresh(self, now_s: float) -> bool:
        """Return whether the series has been silent for no longer than allowed."""
        return bool(self.times_s) and now_s - (self.times_s[-1] - self.ahead_s) <= self.silence_s


@dataclass(slots=True)
class PathCache:
    """What `build_path` keeps of one series between two calls."""

    evaluation: EvaluationCache = field(default_factory=EvaluationCache)
    tracker: Tracker | None = None
    lengths: "_Lengths | None" = None


def load_path(
    c: Connection, site: Site, moving: MovementSeries, now: datetime, memory: Memory, span_s: float = inf
) -> Path:
    """Load the path of a series over the history of the site, or over a shorter span, as known at `now`.

    The number of epochs is limited too, because a series may report more often than it declares.
    """
    since = now - timedelta(seconds=min(find_history_s(site, moving.spec), span_s))
    since = max([since, *(find_epoch(c, series_id, now, MAX_READINGS) or since for series_id in moving.ids)])
    readings = {
        key: tuple(load_readings(c, series_id, since, now, now))
        for key, series_id in zip(moving.keys, moving.ids, strict=True)
    }
    return build_path(site, moving, readings, memory, epoch_s(now))


def build_path(
    site: Site,
    moving: MovementSeries,
    readings: Mapping[str, tuple[Reading, ...]],
    memory: Memory,
    now_s: float,
    cache: PathCache | None = None,
) -> Path:
    """Build the path of a series.

    Args:
        site: The site.
        moving: The series.
        readings: Its readings by `STATION.quantity`.
        memory: Decision memory of the site.
        now_s: The instant in epoch seconds.
        cache: What earlier calls for the same series and site left. It changes no result.
    """
    cache = PathCache() if cache is None else cache
    context = DecisionContext(PreparedSite(site), DecisionInputs(readings), memory, now_s, cache.evaluation)
    if cache.tracker is None:
        cache.tracker = make_motion_tracker(site, moving.station, moving.spec.quantity)
    track = cache.tracker.track(readings, now_s)
    values, sigmas = track.along, track.along_sigma
    if len(moving.quantities) > 1 and not (track.is_directed and track.is_plunge_known):
        cache.lengths = _extend_lengths(track, cache.lengths)
        values, sigmas = cache.lengths.lengths, cache.lengths.errors
    ahead_s = max(0.0, track.times_s[-1] - track.received_s[-1]) if track.times_s else 0.0
    silence_s = context.find_silence_s(moving.spec)
    return Path(track.times_s, tuple(values), tuple(sigmas), len(track.jumps), track.is_stuck, silence_s, ahead_s)


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Lengths of a movement without a declared direction, with the values that they were computed from."""

    values: tuple[Vector, ...]
    sigmas: tuple[Vector, ...]
    lengths: tuple[float, ...]
    errors: tuple[float, ...]


def _extend_lengths(track: Track, previous: _Lengths | None) -> _Lengths:
    """Compute the lengths of a track. The lengths of epochs that have not changed are reused."""
    count = 0 if previous is None else len(previous.values)
    if (
        previous is None
        or count < ORIGIN_EPOCHS
        or (track.values[:count], track.sigmas[:count]) != (previous.values, previous.sigmas)
    ):
        previous = _Lengths((), (), (), ())
        count = 0
    lengths, errors = compute_lengths(track, count)
    return _Lengths(track.values, track.sigmas, previous.lengths + lengths, previous.errors + errors)


def compute_lengths(track: Track, first: int = 0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the distances from the origin and their errors, from an epoch on."""
    start = track.values[:ORIGIN_EPOCHS]
    origin = [sum(value[k] for value in start) / len(start) for k in range(len(start[0]))] if start else []
    lengths = [
        norm([component - zero for component, zero in zip(value, origin, strict=True)], sigma)
        for value, sigma in zip(track.values[first:], track.sigmas[first:], strict=True)
    ]
    return tuple(length for length, _ in lengths), tuple(error for _, error in lengths)
