"""Which rows of a table belong to which station, and which of its columns hold numbers."""

from datetime import datetime
from typing import Final, NamedTuple

from monitor.api.errors import ConfigError
from monitor.api.ingest import name_station
from monitor.api.text import LABELLED_TEXT, Figure, NameList, Template
from monitor.features.table_import.guess.facts import Facts
from monitor.features.table_import.guess.names import is_no_measurement, is_station_column, is_term_of_field
from monitor.features.table_import.guess.numerals import is_empty, is_numeric, list_names
from monitor.features.table_import.guess.questions import NO, YES, Interview
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.same_times import ROWS, request_station_column
from monitor.features.table_import.guess.times import Times
from monitor.features.table_import.guess.together import name_some
from monitor.features.table_import.guess.unfold import unfold

SAME: Final = "same"
STATIONS_MOST: Final = 2000
# A column of stations has a name in at least this share of the rows.
NAMED_LEAST: Final = 0.9

_STATIONS: Final = Template("guess.stations", "{n} of them, named by column '{column}'")
_KINDS: Final = Template("guess.kinds", "column '{column}' says what a row measures")
_NO_NUMBERS: Final = Template("guess.no_numbers", "no column of numbers beside the time; the columns are: {names}")
_UNNAMED_ROWS: Final = Template(
    "guess.stations.unnamed",
    "column '{column}' names no station in {n} of {total} rows: give each station a name with a letter or digit, and "
    "import the file again",
)
_NO_LETTER: Final = Template(
    "guess.no_letter", "a name in column '{column}' has no letter or digit that a station id can have (a-z, 0-9)"
)
_TWINS: Final = Template("guess.twins", "stations that are not the same need names that differ: {names}")
_SAME: Final = Template("guess.ask.same", "are these names the same station: {names}?")


class SettledRows(NamedTuple):
    """A table whose rows are assigned to stations.

    Attributes:
        table: The table, with a column of values for each kind of row.
        numbers: The columns of numbers.
        station_column: The column that names the station of each row. None if each column of values has its station.
        kind_column: The column that named what a row measures, if there was one.
        facts: What was found, for the owner of the file.
    """

    table: RawTable
    numbers: list[str]
    station_column: str | None
    kind_column: str | None
    facts: Facts


def settle_rows(table: RawTable, times: Times, interview: Interview) -> SettledRows:
    """Find the columns that name the station and the kind of each row; raises ConfigError if no column has numbers."""
    station = _find_station_column(table, times, interview)
    named = station
    table, numbers, station, kinds = unfold(table, _find_numbers(table, times, station), station, times.rule.columns)
    if station is not None and all(not name or is_term_of_field(name) for name in list_names(table.columns[station])):
        # The column names quantities or units.
        named = station = None
    is_one_name = station is None or len({str(cell) for cell in table.columns[station]}) == 1
    values = [column for column in numbers if not is_no_measurement(table.heading(column))]
    chosen_column = request_station_column(table, times, values, interview, None if is_one_name else station)
    if chosen_column is not None:
        named = station = chosen_column
        numbers = [column for column in numbers if column != chosen_column]
    facts: Facts = []
    if named is not None:
        count = len(set(filter(None, list_names(table.columns[named]))))
        facts.append(("stations", _STATIONS(n=Figure(count, "d"), column=table.heading(named))))
    if kinds:
        facts.append(("kinds", _KINDS(column=kinds)))
    # A column that may name the stations is not asked about a second time, as a measurement.
    offered = {choice for question in interview.questions if question.key == ROWS for choice in question.choices}
    numbers = [column for column in numbers if table.heading(column) not in offered] or numbers
    if not numbers:
        raise _refuse(table, _NO_NUMBERS(names=NameList(tuple(map(table.heading, table.keys)))))
    return SettledRows(table, numbers, station, kinds, facts)


def _find_station_column(table: RawTable, times: Times, interview: Interview) -> str | None:
    """Return the column whose heading is one of stations and in which a few names recur; raises ConfigError."""
    for column in table.keys:
        if column in times.rule.columns or not is_station_column(table.heading(column)):
            continue
        names = [name for name in list_names(table.columns[column]) if name]
        distinct = set(names)
        # Headings that are merged over several rows leave most rows without a name; they are asked about elsewhere.
        if table.rows / 2 <= len(names) < NAMED_LEAST * table.rows and len(distinct) > 1:
            unnamed = table.rows - len(names)
            raise _refuse(table, _UNNAMED_ROWS(column=table.heading(column), n=unnamed, total=table.rows))
        if len(names) < NAMED_LEAST * table.rows or len(distinct) > min(STATIONS_MOST, max(1, len(names) // 2)):
            continue
        ids = {name: name_station(name) for name in sorted(distinct)}
        if "" in ids.values():
            raise _refuse(table, _NO_LETTER(column=column))
        twins = [name for name, station in ids.items() if list(ids.values()).count(station) > 1]
        if twins and interview.answers.get(SAME, YES) != YES:
            raise _refuse(table, _TWINS(names=name_some(twins)))
        if twins:
            interview.request(SAME, _SAME(names=name_some(twins)), (YES, NO))
        return column
    return None


def _find_numbers(table: RawTable, times: Times, station_column: str | None) -> list[str]:
    found = []
    for column in table.keys:
        if column in {*times.rule.columns, *times.repeats, station_column}:
            continue
        cells = [cell for cell in table.columns[column] if not is_empty(cell)]
        if cells and is_numeric(cells) and not isinstance(cells[0], datetime):
            found.append(column)
    return found


def _refuse(table: RawTable, text: str) -> ConfigError:
    return ConfigError(LABELLED_TEXT(name=str(table.path), text=text))
