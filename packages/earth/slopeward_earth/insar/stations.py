"""Store the velocities that a map shows at stations as readings."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from monitor.api.decoders import Pipeline
from monitor.api.errors import RefusedError
from monitor.api.queries.ingest import FileResult, store_rows
from monitor.api.sites import VELOCITY_MAP, VELOCITY_MAP_QUANTITIES, Site, Station
from monitor.api.text import FUTURE_TOLERANCE, format_iso

if TYPE_CHECKING:
    from slopeward_earth.insar.velocity import PlaceVelocity

DAYS_PER_YEAR: Final = 365.25


class MappedGround(NamedTuple):
    """The ground of a station whose series maps of velocities fill."""

    station: Station  # as declared
    quantities: tuple[str, ...]  # of these series
    over_mm_per_day: float  # what is slower, either way, does not count as moving


def list_mapped_ground(site: Site) -> list[MappedGround]:
    """Stations that maps of velocities give values, in the order of the site file."""
    found = []
    for station in site.stations:
        specs = [
            one for one in station.series if one.source == VELOCITY_MAP and one.quantity in VELOCITY_MAP_QUANTITIES
        ]
        if specs and station.has_ground:
            over = max(one.over_mm_per_day for one in specs)
            found.append(MappedGround(station, tuple(one.quantity for one in specs), over))
    return found


def store_velocities(
    pipeline: Pipeline,
    site: Site,
    found: Iterable["PlaceVelocity"],
    until: datetime,
    component: str,
    name: str,
    now: datetime,
) -> FileResult:
    """Store what a map says of stations at the end of the time that it shows; the same map again adds nothing.

    Each reading names its component in `extra`, and of how many pixels it is: of `enu` a velocity is the length of all
    three, which has no sign. Raises RefusedError: that time lies in the future.
    """
    if until - now > FUTURE_TOLERANCE:
        raise RefusedError(f"the map ends at {format_iso(until)}, in the future")
    wanted = {ground.station.id: ground.quantities for ground in list_mapped_ground(site)}
    rows = [
        {"station": one.name, "quantity": quantity, "time": until, "component": component, **cells}
        for one in found
        for quantity, cells in _list_quantities(one).items()
        if quantity in wanted[one.name]
    ]
    return store_rows(rows, pipeline, site, now, VELOCITY_MAP, name)


def _list_quantities(one: "PlaceVelocity") -> dict[str, dict[str, object]]:
    of_velocity = {"sigma": round(one.speed_sigma / DAYS_PER_YEAR, 6), "unit": "mm/day", "pixels": one.pixels}
    return {
        "velocity": {"value": round(one.speed / DAYS_PER_YEAR, 6), **of_velocity},
        "velocity_p95": {"value": round(one.p95 / DAYS_PER_YEAR, 6), **of_velocity},
        "moving_share": {"value": round(100.0 * one.moving_share, 2), "unit": "%", "pixels": one.pixels},
    }
