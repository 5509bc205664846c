"""Rows of InSAR points: what all table formats share, and the long form with one value a row."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.strict_json import read_cell, read_sigma, read_time
from monitor.ingest.files.mapping import is_missing
from monitor.ingest.files.reader import NAME_LIMIT, BadRow, ImportOptions, PointLine, StationPlace, ValueMeaning
from monitor.ingest.files.tables import Row, find_fault, open_rows, require_columns
from monitor.readings.queries.points import Point, PointValue
from monitor.sites.ground import measure_ground_distance_m, wrap_longitude

_Row = TypeVar("_Row")
LOOKED: Final = 200  # rows that are checked before any is stored
NEAR_M: Final = 100_000.0  # largest plausible distance of points from a station
_NEEDED: Final = ("time", "point", "latitude", "longitude", "value")


def read_place(row: Mapping[str, Any]) -> Point:
    """Return the point of a row with `point`, `latitude`, `longitude` and optionally `height_m`.

    Raises:
        PayloadError: bad_point, not_number, bad_place.
    """
    name = str(row.get("point") or "").strip()
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise PayloadError("bad_point", f"point: expected a name of at most {NAME_LIMIT} characters, got {name[:80]!r}")
    latitude = read_cell(row.get("latitude"), "latitude")
    longitude = wrap_longitude(read_cell(row.get("longitude"), "longitude"))
    if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
        raise PayloadError("bad_place", f"point {name}: {latitude:g}°, {longitude:g}° is no latitude and longitude")
    height = None if is_missing(row.get("height_m")) else read_cell(row["height_m"], "height_m")
    return Point(name, latitude, longitude, height)


def peek_rows(rows: Iterator[_Row]) -> tuple[list[_Row], Iterator[_Row]]:
    """Return the first rows, and an iterator over all rows.

    If reading the first rows raises an error, the iterator raises it after the rows before.
    """
    first: list[_Row] = []
    errors: list[Exception] = []
    try:
        first.extend(islice(rows, LOOKED))
    except Exception as error:
        errors.append(error)

    def walk() -> Iterator[_Row]:
        yield from first
        for error in errors:
            raise error
        yield from rows

    return first, walk()


def refuse_exchanged(path: Path, points: Sequence[Point], places: Sequence[StationPlace]) -> None:
    """Raise ConfigError if all points are far from all stations, and near one with latitude and longitude exchanged."""

    def distance_m(latitude: float, longitude: float) -> float:
        return min(
            measure_ground_distance_m((latitude, longitude), (place.latitude, place.longitude)) for place in places
        )

    if not points or not places or min(distance_m(point.latitude, point.longitude) for point in points) < NEAR_M:
        return
    if max(distance_m(point.longitude, point.latitude) for point in points) < NEAR_M:
        raise ConfigError(
            f"{path}: are latitude and longitude exchanged? {points[0].latitude:.4f}, {points[0].longitude:.4f} is "
            f"{distance_m(points[0].latitude, points[0].longitude) / 1000.0:,.0f} km from the nearest station"
        )


@contextmanager
def open_points(
    path: Path, options: ImportOptions, now: datetime
) -> Iterator[tuple[ValueMeaning, Iterator[PointLine]]]:
    """Open a table `time,point,latitude,longitude,value[,sigma][,height_m]`, CSV or Parquet.

    Raises:
        ConfigError: the file is no such table, or the meaning of its values was not given.
    """
    if options.point_set is None or options.direction is None or options.unit is None:
        raise ConfigError(f"{path}: give --set, --direction and --unit: unit and sign are never guessed")
    declared = ValueMeaning(options.point_set, options.direction, options.unit)
    with open_rows(path) as (names, rows):
        require_columns(path, names, _NEEDED, "[sigma, height_m]")
        first, lines = peek_rows(_read_row(row, now, declared.unit) for row in rows)
        refuse_exchanged(path, [line.point for line in first if line.point], options.places)
        yield declared, lines


def _read_row(row: Row, now: datetime, unit: str) -> PointLine:
    try:
        if error := find_fault(row):
            raise error
        point = read_place(row)
        if is_missing(row.get("value")):
            return PointLine(point, missing=1)
        row_unit = str(row.get("unit") or unit).strip()
        if row_unit != unit:
            raise PayloadError("unit_mismatch", f"unit: {row_unit[:20]!r} in the row, {unit} by --unit")
        at = _read_time(row.get("time"))
        if at > now:
            raise PayloadError("future", f"time: {at.isoformat()} is in the future")
        value = PointValue(point.pid, at, read_cell(row["value"], "value"), read_sigma(row.get("sigma")))
        return PointLine(point, (value,))
    except PayloadError as error:
        return PointLine(None, bad=(BadRow({k or "surplus": v for k, v in row.items()}, error),))


def _read_time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else read_time(value.isoformat(), live=False)
    return read_time(value or None, live=False)
