"""Files of the European Ground Motion Service: a point per line, an acquisition per column, CSV or as it is zipped."""

import csv
import io
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from forecasting.data.bounds import DAMAGED
from monitor.domain.ground import invert_laea_europe
from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.strict_json import read_cell
from monitor.ingest.files.mapping import is_missing
from monitor.ingest.files.point_rows import read_place
from monitor.ingest.files.reader import BadRow, Declared, Piece, Said
from monitor.ingest.files.tables import limit_lines
from monitor.ingest.text.heads import refuse_part
from monitor.store.readings.points import PointValue

ZIP_LIMIT: Final = 8 << 30  # octets of the table in a zip
_TOWARDS: Final = "los-towards"
_GRID: Final = ("easting", "northing")
_DIRECTIONS: Final = {"E": "east", "U": "up"}
_SENTINEL_1_MM: Final = 55.4658  # wavelength of the radar that the service uses; only along its sight it makes jumps


@contextmanager
def open_egms(path: Path, said: Said, now: datetime) -> Iterator[tuple[Declared, Iterator[Piece]]]:
    """Open a product of level 2a, 2b or 3: what it declares, and its points one after the other.

    Values are mm. Levels 2a and 2b are along the line of sight, positive towards the satellite; level 3 is east or up,
    which only the name of the product says (`EGMS_L3_..._E_...`), or `said.direction`. Columns that are dates are
    acquisitions; the file does not know their time of day, so they count from the beginning of the date (UTC): they
    seem up to a day older than they are, never younger.

    Raises:
        ConfigError: the file is no such product, one line.
    """
    try:
        with _open_text(path) as text:
            lines = csv.reader(limit_lines(text, path), strict=True)
            header = [name.strip() for name in next(lines, [])]
            dates = _find_dates(header, path, now)
            direction = _find_direction(said.call(path), header, said.direction)
            wavelength_mm = _SENTINEL_1_MM if direction == _TOWARDS else None
            declared = Declared(said.point_set or said.call(path).stem, direction, "mm", wavelength_mm)
            yield declared, _walk(str(path), lines, header, dates)
    except (UnicodeDecodeError, csv.Error, *DAMAGED) as error:
        raise ConfigError(f"{path}: cannot be read as an EGMS product: {error}") from None


@contextmanager
def _open_text(path: Path) -> Iterator[io.TextIOBase]:
    if path.suffix.lower() != ".zip":
        with path.open(encoding="utf-8-sig", newline="") as text:
            yield text
        return
    with zipfile.ZipFile(path) as archive:
        tables = [m for m in archive.infolist() if m.filename.lower().endswith(".csv") and not m.is_dir()]
        if len(tables) != 1:
            raise ConfigError(f"{path}: expected one .csv in the zip, found {len(tables)}")
        if tables[0].flag_bits & 1:
            raise ConfigError(f"{path}: the zip is encrypted")
        if tables[0].file_size > ZIP_LIMIT:
            raise ConfigError(f"{path}: the table in the zip has {tables[0].file_size} octets; at most {ZIP_LIMIT}")
        with archive.open(tables[0]) as octets, io.TextIOWrapper(octets, "utf-8-sig", newline="") as text:
            yield text


def _find_dates(header: Sequence[str], path: Path, now: datetime) -> dict[int, datetime]:
    """Column -> the beginning of the acquisition's date."""
    if "pid" not in header or not (set(_GRID) <= set(header) or {"latitude", "longitude"} <= set(header)):
        raise ConfigError(
            f"{path}: no EGMS product: expected the columns pid, latitude and longitude (or easting and northing) "
            "and a column per date"
        )
    twice = sorted({n for n in header if n and header.count(n) > 1})
    if twice:
        raise ConfigError(f"{path}: column {twice[0]!r} is there twice")
    dates = {}
    for column, name in enumerate(header):
        if len(name) == 8 and name.isascii() and name.isdigit():
            try:
                dates[column] = datetime(int(name[:4]), int(name[4:6]), int(name[6:]), tzinfo=UTC)
            except ValueError:
                raise ConfigError(f"{path}: column {name!r} is no date (YYYYMMDD)") from None
            if dates[column] > now:
                raise ConfigError(f"{path}: column {name!r} lies in the future")
    if not dates:
        raise ConfigError(f"{path}: no column is a date (YYYYMMDD); is it the product without its time series?")
    return dates


def _find_direction(path: Path, header: Sequence[str], asked: str | None) -> str:
    if {"latitude", "longitude"} <= set(header):  # levels 2a and 2b
        found = _TOWARDS
        if asked not in (None, found):
            raise ConfigError(f"{path}: levels 2a and 2b are along the line of sight, not {asked}: {found}")
        return found
    words = path.stem.upper().split("_")
    named = [_DIRECTIONS[w] for w in words if w in _DIRECTIONS] if words[:2] == ["EGMS", "L3"] else []
    if len(named) != 1 and asked is None:
        raise ConfigError(f"{path}: east or up? The name of the file does not say so: give --direction east or up")
    if len(named) == 1 and asked not in (None, named[0]):
        raise ConfigError(f"{path}: the name of the file says {named[0]}, not {asked}")
    found = named[0] if len(named) == 1 else str(asked)
    if found not in _DIRECTIONS.values():
        raise ConfigError(f"{path}: level 3 is east or up, not {found}")
    return found


def _walk(
    file: str, lines: Iterator[list[str]], header: Sequence[str], dates: dict[int, datetime]
) -> Iterator[Piece]:  # fmt: skip
    columns = {name: k for k, name in enumerate(header)}
    for line, cells in enumerate(lines, 2):
        if not any(cells):
            continue
        if cells[0].strip() in columns:
            if [cell.strip() for cell in cells] != [*header]:
                raise refuse_part(file, line, ", ".join(cells))
            continue
        about = {name: cells[k] for name, k in columns.items() if k not in dates and k < len(cells)}
        try:
            if len(cells) != len(header):
                raise PayloadError("cell_count", f"{len(cells)} cells, the header has {len(header)}")
            point = read_place(_place(about))
        except PayloadError as error:
            yield Piece(None, (), 0, (BadRow(about, error, len(dates)),))
            continue
        values: list[PointValue] = []
        bad: list[BadRow] = []
        missing = 0
        for column, at in dates.items():
            cell = cells[column]
            try:
                number = float(cell)
                if not math.isfinite(number):
                    raise ValueError
                values.append(PointValue(point.pid, at, number))
            except ValueError:
                if is_missing(cell):
                    missing += 1
                    continue
                bad.append(_refuse(point.pid, header[column], cell))
        yield Piece(point, tuple(values), missing, tuple(bad))


def _refuse(pid: str, date: str, cell: str) -> BadRow:
    try:
        read_cell(cell, date)
    except PayloadError as error:
        return BadRow({"pid": pid, date: cell[:60]}, error)
    return BadRow({"pid": pid, date: cell[:60]}, PayloadError("not_number", f"{date}: {cell[:60]!r} is no number"))


def _place(about: dict[str, str]) -> dict[str, object]:
    place: dict[str, object] = {"point": about.get("pid"), "height_m": about.get("height_ortho")}
    if "latitude" in about and "longitude" in about:
        return place | {"latitude": about["latitude"], "longitude": about["longitude"]}
    try:
        latitude, longitude = invert_laea_europe(float(about["easting"]), float(about["northing"]))
    except ValueError:
        raise PayloadError("bad_place", f"{about['easting'][:40]!r}, {about['northing'][:40]!r}: no place") from None
    return place | {"latitude": latitude, "longitude": longitude}
