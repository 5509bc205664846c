"""Store the displacement that two images show at stations as readings."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from math import hypot
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from monitor.api.decoders import Pipeline
from monitor.api.errors import RefusedError
from monitor.api.queries.ingest import FileResult, store_rows
from monitor.api.queries.readings import find_series_id, latest_reading, load_readings
from monitor.api.sites import IMAGE_CORRELATION, Site
from monitor.api.text import FUTURE_TOLERANCE, format_iso

QUANTITIES: Final = ("displacement_east", "displacement_north")


class StationDisplacement(NamedTuple):
    """What two images say of one station: millimetres and their errors, one sigma; in the order of `QUANTITIES`."""

    station: str
    mm: tuple[float, float]
    sigma_mm: tuple[float, float]


def list_image_places(site: Site) -> dict[str, tuple[float, float]]:
    """Stations with a place whose displacement comes from images: id -> longitude, latitude.

    Raises RefusedError: there is none.
    """
    filled = {
        station.id
        for station in site.stations
        if any(spec.quantity == "displacement" and spec.source == IMAGE_CORRELATION for spec in station.series)
    }
    found = {name: place for name, place in site.places.items() if name in filled}
    if not found:
        raise RefusedError(
            f"{site.id}: no station with a place has a series of displacement with source = {IMAGE_CORRELATION!r}; "
            "declare one in the site file"
        )
    return found


def store_vectors(
    pipeline: Pipeline,
    site: Site,
    moved: Iterable[StationDisplacement],
    older_at: datetime,
    newer_at: datetime,
    name: str,
    now: datetime,
) -> FileResult:
    """Store displacement since the first image of each series: what was known at the older image, and what came to it.

    A series that has no reading yet begins with 0 at the older image. Errors of a chain of images add up in squares.
    Raises RefusedError: the images are in the wrong order, or a series has readings but none at the older image.
    """
    if newer_at <= older_at:
        raise RefusedError(
            f"the newer image ({format_iso(newer_at)}) was not taken after the older one ({format_iso(older_at)})"
        )
    if newer_at - now > FUTURE_TOLERANCE:
        raise RefusedError(f"the newer image was taken at {format_iso(newer_at)}, in the future")
    with pipeline.database.read() as c:
        rows: list[dict[str, Any]] = [row for one in moved for row in _list_rows(c, site, one, older_at, newer_at, now)]
    return store_rows(rows, pipeline, site, now, IMAGE_CORRELATION, name)


def _list_rows(
    c: Connection, site: Site, moved: StationDisplacement, older_at: datetime, newer_at: datetime, now: datetime
) -> Iterator[dict[str, Any]]:
    for quantity, mm, sigma in zip(QUANTITIES, moved.mm, moved.sigma_mm, strict=True):
        row: dict[str, Any] = {"station": moved.station, "quantity": quantity, "unit": "mm"}
        base = _find_base(c, site, moved.station, quantity, older_at, now)
        if base is None:  # an error of 0 would outweigh all other readings of a line
            yield {**row, "time": older_at, "value": 0.0, "sigma": round(sigma, 3)}
        before, error = base or (0.0, 0.0)
        yield {**row, "time": newer_at, "value": round(before + mm, 3), "sigma": round(hypot(error, sigma), 3)}


def _find_base(
    c: Connection, site: Site, station: str, quantity: str, older_at: datetime, now: datetime
) -> tuple[float, float] | None:
    """Displacement and its error at the older image; None where the series has no reading yet.

    The first reading is 0 by definition: its own error is that of the vector that came with it, and adds nothing.
    """
    series = find_series_id(c, site.id, station, quantity)
    newest = None if series is None else latest_reading(c, series, now)
    if series is None or newest is None:
        return None
    found = load_readings(c, series, None, older_at, now)
    if not found or found[-1].observed_at != older_at:
        raise RefusedError(
            f"{station}.{quantity} has readings, but none at the older image ({format_iso(older_at)}): compare with an "
            f"image that is in the series, such as that of {format_iso(newest.observed_at)}"
        )
    return found[-1].value_raw, 0.0 if len(found) == 1 else found[-1].sigma or 0.0
