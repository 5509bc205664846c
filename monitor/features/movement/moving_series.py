"""Which series of a site measure how the slope moves, and how much of their history movement uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from forecasting.kinematics.stage_facts import Bound
from monitor.api.decision import COMPONENTS, SCALARS
from monitor.api.queries.readings import load_series
from monitor.api.sites import SeriesSpec, Site, Station

# Quantities in mm that show how the slope moves.
QUANTITY_PREFIXES: Final = ("displacement", "crack_opening")
# Readings of history. Velocities of seven windows of eight readings show what is usual for a slow instrument, and an
# update must cost the same whatever the rate of a fast one.
MIN_READINGS: Final = 64
MAX_READINGS: Final = 20_000


@dataclass(frozen=True, slots=True)
class MovementSeries:
    """A declared series of movement with its stored series."""

    station: Station
    spec: SeriesSpec
    series_id: int  # of the stored series that rows refer to: the first of `ids`
    quantities: tuple[str, ...]  # stored quantities: the components of a displacement, or one scalar
    ids: tuple[int, ...]  # their ids

    @property
    def keys(self) -> tuple[str, ...]:
        """The stored series as `STATION.quantity`."""
        return tuple(f"{self.station.id}.{quantity}" for quantity in self.quantities)

    @property
    def label(self) -> str:
        """`STATION.quantity` as the site file declares it."""
        return f"{self.station.id}.{self.spec.quantity}"


def find_moving(c: Connection, site: Site) -> list[MovementSeries]:
    """Return every series of movement on the slope that is stored. See `list_moving`."""
    series_ids: dict[str, dict[str, int]] = {}
    for row in load_series(c, site.id):
        series_ids.setdefault(row.station, {})[row.quantity] = row.id
    return list_moving(site, series_ids)


def list_moving(site: Site, series_ids: Mapping[str, Mapping[str, int]]) -> list[MovementSeries]:
    """Return every series of movement on the slope that has readings. Control stations are left out.

    Args:
        site: The site.
        series_ids: The ids of the series that have readings, by station and quantity.
    """
    moving = []
    for station in site.stations:
        stored = series_ids.get(station.id, {})
        for spec in station.series:
            if not is_movement(station, spec):
                continue
            names = (*COMPONENTS, *SCALARS) if spec.quantity == "displacement" else (spec.quantity,)
            quantities = _choose_quantities([quantity for quantity in names if quantity in stored])
            if quantities:
                ids = tuple(stored[quantity] for quantity in quantities)
                moving.append(MovementSeries(station, spec, ids[0], quantities, ids))
    return moving


def list_window_stations(site: Site) -> frozenset[str]:
    """Return the stations of all criteria that read failure windows; empty if the site file has no such criterion."""
    return frozenset(
        station for criterion in site.criteria if criterion.kind.facts == "failures" for station in criterion.stations
    )


def list_window_spans(site: Site) -> dict[tuple[str, str], float]:
    """Return how much history, in seconds, the failure windows of criteria need, by station and quantity."""
    stations = list_window_stations(site)
    return {
        (station.id, spec.quantity): find_history_s(site, spec)
        for station in site.stations
        if station.id in stations
        for spec in station.series
        if is_movement(station, spec)
    }


def find_history_s(site: Site, spec: SeriesSpec) -> float:
    """Return how far back the movement of a series is read, in seconds.

    It is the history of the site file, but at least `MIN_READINGS` and at most `MAX_READINGS` intervals of the
    instrument.
    """
    return min(find_velocity_history_s(site, spec), MAX_READINGS * spec.interval_s)


def find_velocity_history_s(site: Site, spec: SeriesSpec) -> float:
    """Return how far back velocities are compared with the present one, in seconds, if enough readings are loaded."""
    return max(site.movement.history_s, MIN_READINGS * spec.interval_s)


def is_movement(station: Station, spec: SeriesSpec) -> bool:
    """Return whether a series measures how the slope moves, in mm."""
    is_motion = spec.quantity.startswith(QUANTITY_PREFIXES) and spec.unit == "mm"
    return station.on_slope and is_motion and not spec.corrected_as


def find_steady_velocity(moving: MovementSeries) -> float | None:
    """Return the reviewed velocity of uniform creep. It belongs to displacement, not to a crack at the same station."""
    return moving.station.v_eq_mm_per_day if moving.spec.quantity.startswith("displacement") else None


def list_velocity_bounds(site: Site, moving: MovementSeries) -> tuple[Bound, ...]:
    """Return the velocities above which witness criteria of the site file warn, each with its window."""
    quantity = moving.spec.quantity
    bounds: list[Bound] = []
    for criterion in site.criteria:
        if criterion.role != "witness" or moving.station.id not in criterion.stations:
            continue
        if criterion.kind.velocity:
            is_bounded = quantity.startswith("displacement")
        else:
            is_bounded = bool(criterion.kind.rate) and criterion.quantity == quantity
        if not is_bounded:
            continue
        bounds += [
            Bound(threshold.over, threshold.effective_window_s, criterion.min_sigma)
            for threshold in criterion.thresholds
            if threshold.over is not None and threshold.over > 0.0
        ]
    return tuple(bounds)


def _choose_quantities(stored: Sequence[str]) -> tuple[str, ...]:
    """Return the components if east and north are stored, or else one scalar."""
    if set(COMPONENTS[:2]) <= set(stored):
        return tuple(quantity for quantity in COMPONENTS if quantity in stored)
    return tuple(quantity for quantity in stored if quantity not in COMPONENTS)[:1]
