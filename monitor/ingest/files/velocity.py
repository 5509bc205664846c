"""Velocities that a map gives at stations, as readings of their series, through the gate that all readings pass."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from monitor.domain.instants import FUTURE_TOLERANCE, spell
from monitor.domain.site import VELOCITY_MAP, Site
from monitor.errors import RefusedError
from monitor.ingest.files.reader import Line
from monitor.ingest.files.reading import FileResult, read_file
from monitor.ingest.pipeline import Pipeline


class Velocity(NamedTuple):
    """Velocity of a station and its error, one sigma; mm/day."""

    station: str
    mm_per_day: float
    sigma_mm_per_day: float


def list_velocity_places(site: Site) -> dict[str, tuple[float, float]]:
    """Stations with a place whose series of velocity comes from maps: id -> longitude, latitude."""
    return {
        station.id: (station.longitude, station.latitude) for station in site.stations
        if station.longitude is not None and station.latitude is not None
        and any(spec.quantity == "velocity" and spec.source == VELOCITY_MAP for spec in station.series)
    }  # fmt: skip


def store_velocities(
    pipeline: Pipeline, site: Site, found: Iterable[Velocity], until: datetime, component: str, name: str, now: datetime
) -> FileResult:
    """Store velocities at the end of the time that the map shows; the same map again adds nothing.

    Each reading names its component in `extra`: of `enu` it is the length of all three, which has no sign.

    Raises:
        RefusedError: that time lies in the future.
    """
    if until - now > FUTURE_TOLERANCE:
        raise RefusedError(f"the map ends at {spell(until)}, in the future")
    rows = [
        {"station": one.station, "quantity": "velocity", "unit": "mm/day", "time": until,
         "value": round(one.mm_per_day, 6), "sigma": round(one.sigma_mm_per_day, 6), "component": component}
        for one in found
    ]  # fmt: skip

    @contextmanager
    def open_lines() -> Iterator[Iterator[Line]]:
        yield iter([Line(((row, None),)) for row in rows])

    return read_file(
        Path(name), pipeline, site, lambda: now, accept_units=True, by=VELOCITY_MAP, name=name, open_lines=open_lines
    )
