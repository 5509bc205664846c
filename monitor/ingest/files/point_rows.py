"""What a line of a file of InSAR points says, whichever form the file has; and the neutral long form."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.rows import read_cell
from monitor.ingest.decoders.strict_json import read_time
from monitor.ingest.files.mapping import is_missing
from monitor.ingest.files.tables import SURPLUS, Row, open_rows
from monitor.store.readings.points import Point, PointValue

DIRECTIONS: Final = ("los-towards", "los-away", "east", "north", "up")
UNITS: Final = ("mm", "cm", "m")
LARGEST_MM: Final = 100_000.0  # 100 m: no ground that radar still recognises
NAME_LIMIT: Final = 64
_IN_MM: Final = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_NEEDED: Final = ("time", "point", "latitude", "longitude", "value")


@dataclass(frozen=True, slots=True)
class Declared:
    """What the values of a set mean; never guessed."""

    name: str
    direction: str  # one of DIRECTIONS: what a positive value means
    unit: str  # one of UNITS

    def judge(self, value: PointValue) -> PayloadError | None:
        """Why a value cannot be one, or None."""
        if abs(value.value) * _IN_MM[self.unit] > LARGEST_MM:
            return PayloadError("out_of_range", f"{value.value:g} {self.unit} of point {value.pid}: is the unit right?")
        return None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row, or a cell with what names it, and why it was refused; `count` values are lost with it."""

    row: Mapping[str, Any]
    error: PayloadError
    count: int = 1


@dataclass(frozen=True, slots=True)
class Piece:
    """What one line says: a point with values, or what is wrong."""

    point: Point | None
    values: tuple[PointValue, ...] = ()
    missing: int = 0
    bad: tuple[BadRow, ...] = ()


def read_place(row: Mapping[str, Any]) -> Point:
    """Read `point`, `latitude`, `longitude` and perhaps `height_m`.

    Raises:
        PayloadError: bad_point, not_number, bad_place.
    """
    name = str(row.get("point") or "").strip()
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise PayloadError("bad_point", f"point: expected a name of at most {NAME_LIMIT} characters, got {name[:80]!r}")
    latitude, longitude = read_cell(row.get("latitude"), "latitude"), read_cell(row.get("longitude"), "longitude")
    if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
        raise PayloadError("bad_place", f"point {name}: {latitude:g}°, {longitude:g}° is no latitude and longitude")
    height = None if is_missing(row.get("height_m")) else read_cell(row["height_m"], "height_m")
    return Point(name, latitude, longitude, height)


@contextmanager
def open_long(path: Path, declared: Declared, now: datetime) -> Iterator[tuple[Declared, Iterator[Piece]]]:
    """Open the neutral form `time,point,latitude,longitude,value[,sigma][,height_m]`, CSV or Parquet.

    Raises:
        ConfigError: the file is no such table.
    """
    with open_rows(path) as (names, rows):
        if absent := [n for n in _NEEDED if n not in names]:
            raise ConfigError(
                f"{path}: column {absent[0]!r} is missing; expected {', '.join(_NEEDED)} [sigma, height_m]"
            )
        yield declared, (_read_row(row, now) for row in rows)


def _read_row(row: Row, now: datetime) -> Piece:
    try:
        if SURPLUS in row:
            raise PayloadError(
                "cell_count", f"{len(row[SURPLUS])} cells more than the header; is there a decimal comma?"
            )
        point = read_place(row)
        if is_missing(row.get("value")):
            return Piece(point, missing=1)
        at = _read_time(row.get("time"))
        if at > now:
            raise PayloadError("future", f"time: {at.isoformat()} lies in the future")
        sigma = None if is_missing(row.get("sigma")) else read_cell(row["sigma"], "sigma")
        if sigma is not None and sigma < 0:
            raise PayloadError("bad_sigma", "sigma is negative")
        return Piece(point, (PointValue(point.pid, at, read_cell(row["value"], "value"), sigma),))
    except PayloadError as error:
        return Piece(None, bad=(BadRow({k or "surplus": v for k, v in row.items()}, error),))


def _read_time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else read_time(value.isoformat(), live=False)
    return read_time(value or None, live=False)
