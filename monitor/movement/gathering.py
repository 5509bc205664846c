"""What a station's movement is judged by: one cleaned series along its direction, as known at an instant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Final

from sqlalchemy import Connection

from forecasting.kinematics.direction import norm
from monitor.domain.decision import Memory, View, seconds
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion, SeriesSpec, Site, Station
from monitor.series.assessment import Windows
from monitor.series.corrections import as_arrived, find_corrections
from monitor.series.tracks import COMPONENTS, SCALARS, Track, Tracker
from monitor.store.readings.observations import find_epoch, load_readings, load_series

KINDS: Final = ("displacement", "crack_opening")  # what moves in mm
MOST_EPOCHS: Final = 20_000  # of history: an update must cost the same whatever the rate of an instrument
MOVEMENT: Final = Kind("movement", noise_steps=True)  # no criterion: how a path is cleaned that no bound judges
ORIGIN_EPOCHS: Final = 10  # from which the length of a movement without a declared direction is counted


@dataclass(frozen=True, slots=True)
class Moving:
    """A declared series that can be judged, and the stored series that its rows are filed under."""

    station: Station
    spec: SeriesSpec
    series_id: int
    quantities: tuple[str, ...]
    ids: tuple[int, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Its stored series, as `station.quantity`."""
        return tuple(f"{self.station.id}.{q}" for q in self.quantities)

    @property
    def label(self) -> str:
        """How people and reports name it."""
        return f"{self.station.id}.{self.spec.quantity}"


@dataclass(frozen=True, slots=True)
class Path:
    """Displacement along the movement in mm, cleaned, oldest first.

    Attributes:
        times_s: Usable epochs, epoch seconds, shape (n,).
        values: Signed downslope (or the only component), or the length where no direction is declared, shape (n,).
        sigmas: One standard deviation each, 0 = unknown, shape (n,).
        steps: Unexplained jumps that were taken out.
        stuck: The instrument repeats one value.
    """

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    sigmas: tuple[float, ...]
    steps: int
    stuck: bool


def find_moving(c: Connection, site: Site) -> list[Moving]:
    """Every series of movement on the slope that has readings; controls are not judged."""
    known: dict[str, dict[str, int]] = {}
    for row in load_series(c, site.id):
        known.setdefault(row.station, {})[row.quantity] = row.id
    found = []
    for station in site.stations:
        have = known.get(station.id, {})
        for spec in station.series if station.on_slope else ():
            if not spec.quantity.startswith(KINDS) or spec.unit != "mm":
                continue
            names = (*COMPONENTS, *SCALARS) if spec.quantity == "displacement" else (spec.quantity,)
            chosen = _choose([q for q in names if q in have])
            if chosen:
                found.append(Moving(station, spec, have[chosen[0]], chosen, tuple(have[q] for q in chosen)))
    return found


def _choose(names: Sequence[str]) -> tuple[str, ...]:
    """Components where east and north came, else the one scalar; as tracks choose."""
    if set(COMPONENTS[:2]) <= set(names):
        return tuple(q for q in COMPONENTS if q in names)
    return tuple(q for q in names if q not in COMPONENTS)[:1]


def load_paths(
    c: Connection, site: Site, moving: Moving, now: datetime, memory: Memory, span_s: float = inf
) -> list[Path]:
    """The path of a series over the site's history, or a shorter span, from what is known at `now`.

    Its failure window may ask for the highest level, so an offset that one person alone stands behind is not applied.
    Where values were corrected and no two people said in `memory` that it is right, a second path follows: as they
    arrived. One that reports more often than it declares is bounded by the number of its epochs.
    """
    since = now - timedelta(seconds=min(site.movement.history_s, MOST_EPOCHS * moving.spec.interval_s, span_s))
    since = max(since, *(find_epoch(c, i, now, MOST_EPOCHS) or since for i in moving.ids))
    readings = {
        key: tuple(load_readings(c, i, since, now, now, by_two=True))
        for key, i in zip(moving.keys, moving.ids, strict=True)
    }
    windows = Windows(site, View(readings), memory, seconds(now))
    arrived = as_arrived(windows, find_corrections(windows))
    return [_build_path(w, moving) for w in ([windows] if arrived is windows else [windows, arrived])]


def _build_path(windows: Windows, moving: Moving) -> Path:
    asked = Criterion("movement", MOVEMENT, (moving.station.id,), moving.spec.quantity, ())
    track = Tracker(windows.site, moving.station, asked).track(windows.view, windows.now_s)
    values, sigmas = track.along, track.along_sigma
    if len(moving.quantities) > 1 and moving.station.azimuth_deg is None:
        values, sigmas = _lengths(track)
    return Path(track.times_s, tuple(values), tuple(sigmas), len(track.jumps), track.stuck)


def _lengths(track: Track) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Distance from where the history begins, freed of what noise adds to it."""
    first = track.values[:ORIGIN_EPOCHS]
    origin = [sum(v[k] for v in first) / len(first) for k in range(len(first[0]))] if first else []
    parts = [
        norm([v - o for v, o in zip(value, origin, strict=True)], sigma)
        for value, sigma in zip(track.values, track.sigmas, strict=True)
    ]
    return tuple(p[0] for p in parts), tuple(p[1] for p in parts)
