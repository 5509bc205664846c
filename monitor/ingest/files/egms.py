"""InSAR points in tables with a column for each date: the European Ground Motion Service, and other programs."""

import csv
import io
import math
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from statistics import linear_regression
from typing import Final

from forecasting.data.bounds import DAMAGED
from forecasting.data.kinds import LENGTHS
from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.strict_json import read_cell
from monitor.ingest.files.mapping import is_missing
from monitor.ingest.files.point_rows import peek_rows, read_place, refuse_exchanged
from monitor.ingest.files.reader import BadRow, ImportOptions, PointLine, ValueMeaning
from monitor.ingest.files.tables import limit_lines
from monitor.ingest.text.clocks import translate_months
from monitor.ingest.text.heads import refuse_part
from monitor.readings.queries.points import PointValue
from monitor.sites.ground import invert_laea_europe

LEAST_DATES: Final = 3  # date columns that a table of points has at least
ZIP_LIMIT: Final = 8 << 30  # bytes of the table in a zip
_TOWARDS: Final = "los-towards"
_GRID: Final = ("easting", "northing")
# Columns of products of the service that tables of other programs do not have.
OWN: Final = frozenset(
    {
        "mp_type",
        "height_ortho",
        "height_wgs84",
        "mean_velocity_std",
        "acceleration_std",
        "seasonality",
        "seasonality_std",
        "amplitude_dispersion",
        "los_east",
        "los_north",
        "los_up",
    }
)
_WIDE_PLACES: Final = {"latitude": ("lat", "latitude"), "longitude": ("lon", "long", "longitude")}
_WIDE_NAMES: Final = ("code", "pid", "point", "id", "name")
_WIDE_HEIGHTS: Final = ("height", "h", "height_m")
_FORMS: Final = ("%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%Y_%m_%d", "%Y.%m.%d", "%d.%m.%Y", "%d-%b-%Y", "%d%b%Y")
_AROUND_DAY: Final = re.compile(r"^(?:x|d|ts?|date|los|disp)[_ ]*(?=\d)|(?<=\d)[T ]\d\d:.*$", re.IGNORECASE)
_FIGURES: Final = re.compile(r"\d{6}|\d{8}")  # name of a column that can only be a date
DATE_FIGURES: Final = 8
_DECIMAL: Final = re.compile(r"\s*[-+]?\d*,\d+(?:[eE][-+]?\d+)?\s*")
_VELOCITIES: Final = ("vel", "velocity", "mean_velocity", "vel_mm_yr", "v_mm_yr", "vel (mm/yr)", "velocity_mm_yr")
_LEAST_VELOCITY: Final = 1.0  # mm/year; smaller velocities are noise
_DIRECTIONS: Final = {"E": "east", "U": "up"}
# Wavelength of the radar of the service. Unwrapping errors are jumps by half of it along the line of sight.
_SENTINEL_1_MM: Final = 55.4658


Opened = AbstractContextManager[tuple[ValueMeaning, Iterator[PointLine]]]


def open_egms(path: Path, options: ImportOptions, now: datetime) -> Opened:
    """Open a product of level 2a, 2b or 3: the meaning of its values, and its points.

    Values are mm. Levels 2a and 2b are along the line of sight, positive towards the satellite. Level 3 is east or up,
    by the name of the product (`EGMS_L3_..._E_...`) or by `options.direction`. Acquisitions have no time of day in the
    file: they count from the start of the date (UTC), which is up to a day too early and never too late.

    Raises:
        ConfigError: the file is no such product.
    """

    def declare(header: Sequence[str]) -> tuple[ValueMeaning, dict[int, datetime]]:
        dates = _find_dates(header, path)
        direction = _find_direction(options.restore_name(path), header, options.direction)
        wavelength_mm = _SENTINEL_1_MM if direction == _TOWARDS else None
        return ValueMeaning(options.point_set or options.restore_name(path).stem, direction, "mm", wavelength_mm), dates

    return _open(path, now, declare, _place, options)


def read_day(name: str) -> datetime | None:
    """Return the date that the name of a column is; None if it is no date.

    >>> [str(read_day(name))[:10] for name in ("D20240105", "05-Mai-2024", "TS_2024_01_05", "coh_20240105", "200117")]
    ['2024-01-05', '2024-05-05', '2024-01-05', 'None', 'None']
    """
    text = translate_months(_AROUND_DAY.sub("", name.strip()))
    if text.isdigit() and len(text) != DATE_FIGURES:
        return None  # %Y%m%d would read 200117 as 2001-01-07
    for form in _FORMS if any(c.isdigit() for c in text) else ():
        with suppress(ValueError):
            return datetime.strptime(text, form).replace(tzinfo=UTC)
    return None


def is_wide_points(names: Sequence[str]) -> bool:
    """Return whether a table with these columns has points with a column for each date."""
    lower = {name.strip().lower() for name in names}
    has_places = all(lower & set(spellings) for spellings in _WIDE_PLACES.values())
    return has_places and sum(read_day(name) is not None for name in names) >= LEAST_DATES


def open_wide_points(path: Path, options: ImportOptions, now: datetime) -> Opened:
    """Open a table of points with a column for each date, as SqueeSAR, SARPROZ, StaMPS and others export them.

    The id of a point is in a column (`CODE`, `pid`, `id`), or is its place. Acquisitions count from the start of their
    date (UTC). Such a table states neither unit nor sign: the options give them.

    Raises:
        ConfigError: it is no such table, or the meaning of its values was not given.
    """
    name, direction, unit = options.point_set, options.direction, options.unit
    if name is None or direction is None or unit is None:
        raise ConfigError(f"{path}: give --set, --direction and --unit: unit and sign are never guessed")

    def declare(header: Sequence[str]) -> tuple[ValueMeaning, dict[int, datetime]]:
        if not is_wide_points(header):
            raise ConfigError(f"{path}: expected columns lat and lon, and a column for each date such as D20240105")
        digits = [column for column in header if _FIGURES.fullmatch(_AROUND_DAY.sub("", column))]
        if invalid := [column for column in digits if read_day(column) is None]:
            raise ConfigError(f"{path}: column {invalid[0]!r} is no date (YYYYMMDD)")
        dates = {k: at for k, column in enumerate(header) if (at := read_day(column))}
        return ValueMeaning(name, direction, unit), dates

    return _open(path, now, declare, _place_wide, options)


@contextmanager
def _open(
    path: Path,
    now: datetime,
    declare: Callable[[Sequence[str]], tuple[ValueMeaning, dict[int, datetime]]],
    place: Callable[[dict[str, str]], dict[str, object]],
    options: ImportOptions,
) -> Iterator[tuple[ValueMeaning, Iterator[PointLine]]]:
    try:
        with _open_text(path) as text:
            lines = _split(limit_lines(text, path))
            header = [name.strip() for name in next(lines, [])]
            declared, dates = declare(header)
            if len(set(dates.values())) < len(dates):
                raise ConfigError(f"{path}: two columns have the same date")
            if late := [header[k] for k, at in dates.items() if at > now]:
                raise ConfigError(f"{path}: column {late[0]!r} is in the future")
            first, lines = peek_rows(lines)
            pieces, _ = peek_rows(_walk(str(path), iter(first), header, dates, place))
            refuse_exchanged(path, [piece.point for piece in pieces if piece.point], options.places)
            _refuse_other_velocity(path, first, header, dates, declared.unit)
            yield declared, _walk(str(path), lines, header, dates, place)
    except (UnicodeDecodeError, csv.Error, *DAMAGED) as error:
        raise ConfigError(f"{path}: cannot be read as a table of points: {error}") from None


def _refuse_other_velocity(
    path: Path, rows: Sequence[list[str]], header: Sequence[str], dates: dict[int, datetime], unit: str
) -> None:
    """Raise ConfigError if the velocity column differs from the values by a power of ten or the sign.

    Then the values have another unit or another sign than declared.
    """
    velocity_column = next((k for k, name in enumerate(header) if name.lower() in _VELOCITIES), None)
    if velocity_column is None or unit not in LENGTHS or len(dates) < LEAST_DATES:
        return
    years = [at.timestamp() / (365.25 * 86_400.0) for at in dates.values()]
    pairs = []
    for cells in rows:
        with suppress(ValueError, IndexError):
            stated = float(cells[velocity_column])
            values = [float(cells[k]) for k in dates]
            slope = linear_regression(years, values).slope
            if abs(stated) >= _LEAST_VELOCITY and slope:
                pairs.append((stated / (slope * LENGTHS[unit]), stated, slope * LENGTHS[unit]))
    if len(pairs) < LEAST_DATES:
        return
    ratio, stated, measured = sorted(pairs)[len(pairs) // 2]
    alike = sum(1 / 1.5 < pair_ratio / ratio < 1.5 for pair_ratio, _, _ in pairs)
    power = math.log10(abs(ratio))
    # a power of ten comes from another unit, -1 from the other sign
    if alike >= 0.8 * len(pairs) and abs(power - round(power)) < 0.1 and (round(power) or ratio < 0):
        raise ConfigError(
            f"{path}: column {header[velocity_column]!r} states {stated:.3g} mm/year, the values in {unit} give "
            f"{measured:.3g}: check unit and sign, or remove that column"
        )


def find_separator(names: str) -> str:
    """Return the separator of a table of points: a comma, a semicolon or a tab."""
    return max(",;\t", key=names.count)


def _split(texts: Iterator[str]) -> Iterator[list[str]]:
    """Yield the cells of each line. If semicolons separate the cells, a comma is a decimal sign."""
    first = next(texts, "")
    separator = find_separator(first)
    for cells in csv.reader(chain((first,), texts), delimiter=separator, strict=True):
        if separator == ";":
            yield [cell.replace(",", ".") if _DECIMAL.fullmatch(cell) else cell for cell in cells]
        else:
            yield cells


def _place_wide(about: dict[str, str]) -> dict[str, object]:
    lower = {name.lower(): cell for name, cell in about.items()}

    def find(names: Sequence[str]) -> str | None:
        return next((lower[name] for name in names if name in lower), None)

    place: dict[str, object] = {key: find(names) for key, names in _WIDE_PLACES.items()}
    name = find(_WIDE_NAMES) or f"{place['latitude']} {place['longitude']}"
    return place | {"point": name, "height_m": find(_WIDE_HEIGHTS)}


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
            raise ConfigError(f"{path}: the table in the zip has {tables[0].file_size} bytes; at most {ZIP_LIMIT}")
        with archive.open(tables[0]) as octets, io.TextIOWrapper(octets, "utf-8-sig", newline="") as text:
            yield text


def _find_dates(header: Sequence[str], path: Path) -> dict[int, datetime]:
    has_places = set(_GRID) <= set(header) or {"latitude", "longitude"} <= set(header)
    if "pid" not in header or not has_places or not OWN & set(header):
        raise ConfigError(
            f"{path}: no EGMS product: expected the columns pid, latitude and longitude (or easting and northing), "
            "columns of EGMS such as mp_type or height_wgs84, and a column for each date; --format insar-wide reads "
            "tables of other programs"
        )
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise ConfigError(f"{path}: column {repeated[0]!r} is repeated")
    dates = {}
    for column, name in enumerate(header):
        if len(name) == DATE_FIGURES and name.isascii() and name.isdigit():
            if (at := read_day(name)) is None:
                raise ConfigError(f"{path}: column {name!r} is no date (YYYYMMDD)")
            dates[column] = at
    if not dates:
        raise ConfigError(f"{path}: no column is a date (YYYYMMDD); is it the product without its time series?")
    return dates


def _find_direction(path: Path, header: Sequence[str], requested: str | None) -> str:
    if {"latitude", "longitude"} <= set(header):  # levels 2a and 2b
        found = _TOWARDS
        if requested not in (None, found):
            raise ConfigError(f"{path}: levels 2a and 2b are along the line of sight, not {requested}: {found}")
        return found
    words = path.stem.upper().split("_")
    named = [_DIRECTIONS[w] for w in words if w in _DIRECTIONS] if words[:2] == ["EGMS", "L3"] else []
    if len(named) != 1 and requested is None:
        raise ConfigError(f"{path}: east or up? The name of the file does not state it: give --direction east or up")
    if len(named) == 1 and requested not in (None, named[0]):
        raise ConfigError(f"{path}: the name of the file states {named[0]}, not {requested}")
    found = named[0] if len(named) == 1 else str(requested)
    if found not in _DIRECTIONS.values():
        raise ConfigError(f"{path}: level 3 is east or up, not {found}")
    return found


def _walk(
    file: str,
    lines: Iterator[list[str]],
    header: Sequence[str],
    dates: dict[int, datetime],
    place: Callable[[dict[str, str]], dict[str, object]],
) -> Iterator[PointLine]:
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
            point = read_place(place(about))
        except PayloadError as error:
            yield PointLine(None, (), 0, (BadRow(about, error, len(dates)),))
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
        if len(values) >= LEAST_DATES and not any(value.value for value in values):  # masked, as in grids
            missing += len(values)
            values = []
        yield PointLine(point, tuple(values), missing, tuple(bad))


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
