"""Distances and angles of a total station: find their columns, and ask whether they are what their headings suggest."""

from collections.abc import Sequence
from typing import Final

from monitor.api.ingest import POLAR, SLOPE_DISTANCE, ColumnRule
from monitor.api.text import Figure, Message, NameList, Template, Term, join
from monitor.features.table_import.guess.names import read_name
from monitor.features.table_import.guess.questions import LEAVE_OUT, Interview
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.together import Numbers
from monitor.features.table_import.guess.words import load_words

POLAR_KEY: Final = "polar"
TOTAL_STATION: Final = "total station"
_UNITS: Final = {SLOPE_DISTANCE: ("m", "ft", "mm")}
_ANGLES: Final = ("gon", "deg", "mrad", "rad")

_ARE_POLAR: Final = Template("guess.ask.polar", "are {names} the slope distance and the angles of a total station?")
_MEANS: Final = Template("guess.ask.polar.means", "'{column}': {value} is {quantity}")
_WHICH_UNIT: Final = Template("guess.ask.polar.unit", "which unit has '{column}'? its first value is {value}")
_IN_COORDINATES: Final = Template(
    "guess.left.polar", "left out: a reading of the total station, which the coordinates contain"
)


def find_polar(table: RawTable, numbers: Sequence[str]) -> dict[str, str]:
    """Return the quantity of each polar reading of a table, by its column; empty unless all three are there once."""
    found: dict[str, str] = {}
    for quantity in POLAR:
        words = load_words("polar", quantity)
        columns = [column for column in numbers if words.is_whole(_strip_unit(table.title(column)))]
        if len(columns) != 1:
            return {}
        found[columns[0]] = quantity
    return found


def settle_polar(
    table: RawTable, numbers: Sequence[str], read_numbers: Numbers, station_column: str | None, talk: Interview
) -> tuple[list[ColumnRule], list[str], dict[str, Message]]:
    """Return the rules of polar readings, their columns, and why they are left out.

    Coordinates beside them were computed from them, so the coordinates are read. A table without a column of stations
    has no polar readings: they belong to many prisms.

    Args:
        table: The table.
        numbers: The columns of numbers.
        read_numbers: Returns the numbers of a column.
        station_column: The column that names the prism of each row.
        talk: The answers and open questions.
    """
    found = find_polar(table, numbers) if station_column is not None else {}
    if not found:
        return [], [], {}
    if _has_coordinates(table, [column for column in numbers if column not in found]):
        return [], list(found), dict.fromkeys(found, _IN_COORDINATES())
    names = NameList(tuple(table.title(column) for column in found))
    means = join([_describe(table, column, quantity, read_numbers) for column, quantity in found.items()])
    answer = talk.request(
        POLAR_KEY, _ARE_POLAR(names=names), (TOTAL_STATION, LEAVE_OUT), TOTAL_STATION, {TOTAL_STATION: means}
    )
    if answer != TOTAL_STATION:
        return [], list(found), {}
    units = {column: _settle_unit(table, column, quantity, read_numbers, talk) for column, quantity in found.items()}
    rules = [
        ColumnRule(column, None, quantity, unit)
        for column, quantity in found.items()
        if (unit := units[column]) is not None
    ]
    return rules, list(found), {}


def _settle_unit(table: RawTable, column: str, quantity: str, read_numbers: Numbers, talk: Interview) -> str | None:
    """Return the unit in a heading, or the unit that an answer gives; None while the question is open."""
    units = _UNITS.get(quantity, _ANGLES)
    unit = read_name(table.title(column), table.units.get(column)).unit
    if unit in units:
        return unit
    value = Figure(read_numbers(column)[0], ".6g")
    key = f"unit:{quantity}" if quantity in _UNITS else "unit:angle"
    known = next((question for question in talk.questions if question.key == key), None)
    if known is not None:
        return None
    return talk.request(key, _WHICH_UNIT(column=table.title(column), value=value), units)


def _has_coordinates(table: RawTable, numbers: Sequence[str]) -> bool:
    """Return whether columns name an east and a north coordinate."""
    meanings = [read_name(table.title(column), table.units.get(column)) for column in numbers]
    sides = {meaning.sign for meaning in meanings}
    quantities = {meaning.quantity for meaning in meanings}
    return {"e", "n"} <= sides or {"x", "y"} <= sides or {"displacement_east", "displacement_north"} <= quantities


def _describe(table: RawTable, column: str, quantity: str, read_numbers: Numbers) -> Message:
    value: Figure = Figure(read_numbers(column)[0], ".6g")
    return _MEANS(column=table.title(column), value=value, quantity=Term(quantity.replace("_", " ")))


def _strip_unit(heading: str) -> str:
    """Return a heading without the part in brackets.

    >>> _strip_unit("Hz [gon]"), _strip_unit("Slope distance (m)")
    ('Hz', 'Slope distance')
    """
    for bracket in "[(":
        heading = heading.partition(bracket)[0]
    return heading.strip()
