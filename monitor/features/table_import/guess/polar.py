"""Distances and angles of a total station: find their columns, and ask whether they are what their headings suggest."""

from collections.abc import Mapping, Sequence
from typing import Final

from monitor.api.errors import ConfigError
from monitor.api.ingest import (
    DISPLACEMENT_OF,
    POLAR,
    SLOPE_DISTANCE,
    ColumnRule,
    TableMapping,
    compute_coordinates_m,
    name_station,
)
from monitor.api.sites import Origin, TotalStation, convert
from monitor.api.text import Figure, Message, NameList, Template, Term, join
from monitor.features.table_import.guess.coordinates import SITE, ReferenceReadings, make_baseline, request_reference
from monitor.features.table_import.guess.facts import Facts
from monitor.features.table_import.guess.names import read_heading
from monitor.features.table_import.guess.numerals import Numerals, is_empty, list_names, read_number
from monitor.features.table_import.guess.questions import LEAVE_OUT, Interview
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.times import Times
from monitor.features.table_import.guess.together import Numbers
from monitor.features.table_import.guess.words import load_words

POLAR_KEY: Final = "polar"
TOTAL_STATION: Final = "total station"
_UNITS: Final = {SLOPE_DISTANCE: ("m", "ft", "mm")}
_ANGLES: Final = ("gon", "deg", "mrad", "rad")

LOCAL_INSTRUMENT: Final = TotalStation("TS1", east_m=0.0, north_m=0.0, up_m=0.0)
"""The total station of a site whose file declares none: the origin of a local grid.

Displacement is the difference of two positions, so the place of the instrument cancels out.
"""

_ARE_POLAR: Final = Template("guess.ask.polar", "are {names} the slope distance and the angles of a total station?")
_MEANS: Final = Template("guess.ask.polar.means", "'{column}': {value} is {quantity}")
_WHICH_UNIT: Final = Template("guess.ask.polar.unit", "which unit has '{column}'? its first value is {value}")
_IN_COORDINATES: Final = Template(
    "guess.left.polar", "left out: a reading of the total station, which the coordinates contain"
)
_LOCAL: Final = Template(
    "guess.polar.local",
    "the total station is the origin of a local grid, because displacement needs no position. The instrument must "
    "have stayed in its place, and its horizontal circle must read 0 towards north: else displacement is turned. "
    "If the bearing of this 0 is known, write it into the site file as `orientation` of [[total_station]]",
)
_NO_ORIGIN: Final = Template(
    "guess.polar.site", "reference: the site file has no origin for {station}; give 'first' or a date"
)


def find_polar(table: RawTable, numbers: Sequence[str]) -> dict[str, str]:
    """Return the quantity of each polar reading of a table, by its column; empty unless all three are there once."""
    found: dict[str, str] = {}
    for quantity in POLAR:
        words = load_words("polar", quantity)
        columns = [column for column in numbers if words.is_whole(_strip_unit(table.heading(column)))]
        if len(columns) != 1:
            return {}
        found[columns[0]] = quantity
    return found


def settle_polar(
    table: RawTable,
    numbers: Sequence[str],
    read_numbers: Numbers,
    station_column: str | None,
    interview: Interview,
    site_origins: Mapping[str, Origin],
) -> tuple[list[ColumnRule], list[str], dict[str, Message]]:
    """Return the rules of polar readings, their columns, and why they are left out.

    Coordinates beside them were computed from them, so the coordinates are read. A table without a column of stations
    has no polar readings: they belong to many prisms.

    Args:
        table: The table.
        numbers: The columns of numbers.
        read_numbers: Returns the numbers of a column.
        station_column: The column that names the prism of each row.
        interview: The answers and open questions.
        site_origins: Origins of the stations in the site file. The others need a reading to count from.
    """
    found = find_polar(table, numbers) if station_column is not None else {}
    if not found:
        return [], [], {}
    if _has_coordinates(table, [column for column in numbers if column not in found]):
        return [], list(found), dict.fromkeys(found, _IN_COORDINATES())
    names = NameList(tuple(table.heading(column) for column in found))
    means = join([_describe(table, column, quantity, read_numbers) for column, quantity in found.items()])
    answer = interview.request(
        POLAR_KEY, _ARE_POLAR(names=names), (TOTAL_STATION, LEAVE_OUT), TOTAL_STATION, {TOTAL_STATION: means}
    )
    if answer != TOTAL_STATION:
        return [], list(found), {}
    units = {
        column: _settle_unit(table, column, quantity, read_numbers, interview) for column, quantity in found.items()
    }
    if any(prism and prism not in site_origins for prism in _list_prisms(table, station_column)):
        request_reference(interview, site_origins)
    rules = [
        ColumnRule(column, None, quantity, unit)
        for column, quantity in found.items()
        if (unit := units[column]) is not None
    ]
    return rules, list(found), {}


def find_polar_origins(
    table: RawTable,
    mapping: TableMapping,
    times: Times,
    numerals: Numerals,
    answer: str,
    site_origins: Mapping[str, Origin],
    total_stations: Sequence[TotalStation],
) -> tuple[tuple[str, Origin], ...]:
    """Return the origin of each prism: that of the site file, else its first complete reading.

    Args:
        table: The table of the file.
        mapping: The complete mapping of the table.
        times: The times of the rows.
        numerals: How the numbers of the table are written.
        answer: `FIRST`, `SITE` or a date in ISO form.
        site_origins: Origins of the stations in the site file.
        total_stations: The instruments.

    Raises:
        ConfigError: A prism has no complete reading on or after the date, or no origin in the site file.
    """
    readings = ReferenceReadings(table, mapping, times, answer)
    rules = {rule.quantity: rule for rule in mapping.columns if rule.quantity in POLAR}
    rows: dict[str, dict[int, dict[str, float]]] = {}
    for row, station in enumerate(_list_prisms(table, mapping.station)):
        if not station or station in site_origins:
            continue
        own = rows.setdefault(station, {})
        values = {quantity: _read_value(table, rule, row, numerals) for quantity, rule in rules.items()}
        complete = {quantity: value for quantity, value in values.items() if value is not None}
        if len(complete) == len(POLAR) and complete[SLOPE_DISTANCE] > 0.0:
            own[row] = complete
    found = dict(site_origins)
    for station, own in rows.items():
        instrument = next((one for one in total_stations if one.measures(station)), None)
        if instrument is None:
            continue  # its readings are refused with the reason
        if answer == SITE:
            raise ConfigError(_NO_ORIGIN(station=station))
        at, row = readings.find(station, rules[SLOPE_DISTANCE].name, own)
        distance_m, circle_mrad, zenith_mrad = (own[row][quantity] for quantity in POLAR)
        place_m = compute_coordinates_m(instrument, distance_m, circle_mrad / 1000.0, zenith_mrad / 1000.0)
        found[station] = Origin(at, baseline_m=make_baseline(dict(zip(DISPLACEMENT_OF, place_m, strict=True))))
    return tuple(found.items())


def describe_local_instrument() -> Facts:
    """Return what is assumed about a total station whose place nobody gave."""
    return [("total station", _LOCAL())]


def _list_prisms(table: RawTable, station_column: str | None) -> list[str]:
    """Return the id of the prism of each row; an empty text if a row names none."""
    return [] if station_column is None else [name_station(name) for name in list_names(table.columns[station_column])]


def _read_value(table: RawTable, rule: ColumnRule, row: int, numerals: Numerals) -> float | None:
    """Return a distance in m or an angle in mrad; None if the cell has no number."""
    cell = table.columns[rule.name][row]
    if is_empty(cell) or str(cell) in numerals.missing:
        return None
    number = read_number(rule.cut(cell), numerals)
    unit = "m" if rule.quantity == SLOPE_DISTANCE else "mrad"
    return None if number is None else convert(number, rule.unit, unit)


def _settle_unit(
    table: RawTable, column: str, quantity: str, read_numbers: Numbers, interview: Interview
) -> str | None:
    """Return the unit in a heading, or the unit that an answer gives; None while the question is open."""
    units = _UNITS.get(quantity, _ANGLES)
    unit = read_heading(table.heading(column), table.units.get(column)).unit
    if unit in units:
        return unit
    value = Figure(read_numbers(column)[0], ".6g")
    key = f"unit:{quantity}" if quantity in _UNITS else "unit:angle"
    open_question = next((question for question in interview.questions if question.key == key), None)
    if open_question is not None:
        return None
    return interview.request(key, _WHICH_UNIT(column=table.heading(column), value=value), units)


def _has_coordinates(table: RawTable, numbers: Sequence[str]) -> bool:
    """Return whether columns name an east and a north coordinate."""
    meanings = [read_heading(table.heading(column), table.units.get(column)) for column in numbers]
    sides = {meaning.component for meaning in meanings}
    quantities = {meaning.quantity for meaning in meanings}
    return {"e", "n"} <= sides or {"x", "y"} <= sides or {"displacement_east", "displacement_north"} <= quantities


def _describe(table: RawTable, column: str, quantity: str, read_numbers: Numbers) -> Message:
    value: Figure = Figure(read_numbers(column)[0], ".6g")
    return _MEANS(column=table.heading(column), value=value, quantity=Term(quantity.replace("_", " ")))


def _strip_unit(heading: str) -> str:
    """Return a heading without the part in brackets.

    >>> _strip_unit("Hz [gon]"), _strip_unit("Slope distance (m)")
    ('Hz', 'Slope distance')
    """
    for bracket in "[(":
        heading = heading.partition(bracket)[0]
    return heading.strip()
