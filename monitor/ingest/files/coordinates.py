"""Replace the coordinates and polar readings in a table by displacement since the origins of the stations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.decoders.rows import EPOCH0, FRAME, STEP
from monitor.ingest.decoders.strict_json import read_cell, read_sigma, read_time
from monitor.ingest.files.reader import CheckedRow, ImportOptions, ReadingLine
from monitor.ingest.quality import read_digit
from monitor.ingest.total_stations import (
    DISPLACEMENT_OF,
    POLAR,
    POSITION_UNITS,
    DisplacementReading,
    PositionReading,
    compute_displacements,
    find_frame,
    is_position,
    refuse_double,
)
from monitor.readings.no_value import is_fill_number
from monitor.sites.quantities import convert, convert_difference, split_suffix
from monitor.text.instants import format_iso
from monitor.text.message import Template, Term

_NO_ORIGINS: Final = Template(
    "file.no_origins",
    "{file} has coordinates ({names}), and no station has an origin that displacement is measured from. Let Slopeward "
    "take the first reading of each point: slopeward ingest {file} --guess --answer reference=first, or a date instead "
    "of first. Or add origin = {keys} to the stations of the site file, and give --site",
)
_NO_TOTAL_STATION: Final = Template(
    "file.no_total_station",
    "{file} has distances and angles of a total station ({names}), and the site file has no [[total_station]]. Add its "
    "id, east_m, north_m, up_m and orientation to the site file, and give --site",
)
_BAD_UNIT: Final = Template("position.unit", "{quantity}: {problem}")
_ORIGIN_KEYS: Final = "{east_m = .., north_m = .., up_m = .., since = 2026-03-01T00:00:00Z}"


def check_positions(file: str, quantities: Sequence[str], options: ImportOptions) -> None:
    """Reject a table of coordinates or polar readings of which nothing can be converted.

    Args:
        file: name of the file.
        quantities: quantities of its columns.
        options: origins and total stations of the site.

    Raises:
        ConfigError: no station has an origin, or no total station is declared.
    """
    polar = [quantity for quantity in quantities if quantity in POLAR]
    coordinates = [quantity for quantity in quantities if quantity in DISPLACEMENT_OF]
    if coordinates and not options.origins:
        raise ConfigError(_NO_ORIGINS(file=file, names=", ".join(coordinates), keys=_ORIGIN_KEYS))
    if polar and not coordinates and not options.total_stations:
        raise ConfigError(_NO_TOTAL_STATION(file=file, names=", ".join(polar)))


def replace_positions(line: ReadingLine, options: ImportOptions) -> ReadingLine:
    """Return a line with displacement instead of coordinates, distances and angles.

    Readings of one station on the line belong together. If they cannot be converted, their rows are rejected with the
    reason.
    """
    groups: dict[str, list[CheckedRow]] = {}
    kept: list[CheckedRow] = []
    for row, error in line.rows:
        if error is None and is_position(_split(row)[0]):
            groups.setdefault(str(row.get("station", "")), []).append((row, error))
        else:
            kept.append((row, error))
    if not groups:
        return line
    converted: list[CheckedRow] = []
    for station, group in groups.items():
        given = [_split(row)[0] for row, error in kept if error is None and row.get("station") == station]
        try:
            converted += _convert(station, [row for row, _ in group], given, options)
        except PayloadError as error:
            bare = error.without_traceback()
            converted += [(row, bare) for row, _ in group]
    return replace(line, rows=(*kept, *converted))


def _convert(
    station: str, rows: Sequence[Mapping[str, Any]], given: Sequence[str], options: ImportOptions
) -> list[CheckedRow]:
    at = _read_time(rows[0])
    readings = {_split(row)[0]: _read(row) for row in rows}
    origin = dict(options.origins).get(station)
    has_coordinates = any(quantity in DISPLACEMENT_OF for quantity in readings)
    measuring = [one for one in options.total_stations if one.measures(station)]
    total_station = measuring[0] if measuring and not has_coordinates else None
    computed = compute_displacements(station, at, readings, origin, total_station)
    refuse_double(station, given, computed)
    if origin is None:
        return []
    extra = {FRAME: find_frame(origin, total_station), EPOCH0: format_iso(origin.since)}
    shared = {key: rows[0][key] for key in ("time", "station", "site", "solution") if key in rows[0]}
    return [(_make_row(reading, shared | extra), None) for reading in computed]


def _make_row(reading: DisplacementReading, shared: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {**shared, "quantity": reading.quantity, "unit": "mm", "value": reading.value_mm}
    if reading.sigma_mm is not None:
        row["sigma"] = reading.sigma_mm
    if reading.step_mm is not None:
        row[STEP] = reading.step_mm
    return row


def _split(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return quantity and unit of a row, in which the unit may be a column of its own or the suffix of the quantity."""
    quantity, unit = str(row.get("quantity", "")), row.get("unit")
    if unit:
        return quantity, str(unit)
    return split_suffix(quantity) or (quantity, "")


def _read_time(row: Mapping[str, Any]) -> datetime:
    at = row.get("time")
    return at if isinstance(at, datetime) else read_time(at or None, live=False)


def _read(row: Mapping[str, Any]) -> PositionReading:
    quantity, unit = _split(row)
    value = read_cell(row.get("value"), "value")
    canonical = POSITION_UNITS[quantity]
    sigma = read_sigma(row.get("sigma"))
    step = read_digit(row.get("value"))
    try:
        return PositionReading(
            convert(value, unit, canonical),
            None if sigma is None else convert_difference(sigma, unit, canonical),
            None if step is None else abs(convert_difference(step, unit, canonical)),
            is_fill_number(value),
        )
    except ValueError as error:
        raise PayloadError("unit_mismatch", _BAD_UNIT(quantity=Term(quantity), problem=str(error))) from None
