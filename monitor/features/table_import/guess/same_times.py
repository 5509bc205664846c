"""Ask about rows with the same time and different values: several instruments or depths, or corrections."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from math import isclose
from typing import Any, Final

from monitor.api.errors import ConfigError
from monitor.api.ingest import name_station
from monitor.api.text import LABELLED_TEXT, Figure, Template
from monitor.features.table_import.guess.names import is_station_column
from monitor.features.table_import.guess.numerals import is_empty, list_names
from monitor.features.table_import.guess.questions import Interview
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.times import Times
from monitor.features.table_import.guess.words import load_words

ROWS: Final = "rows"
NONE: Final = "none of them"
# Fewer rows with the time of another row are no second instrument, but the hour that comes twice in autumn.
ROWS_LEAST: Final = 3
# Share of such rows. Two instruments make half of all rows; a logger that writes no seconds made 6 %.
SHARE_LEAST: Final = 0.2
# Share of the rows that a column must tell apart.
APART_LEAST: Final = 0.95
# More different names in a column do not name instruments.
NAMES_MOST: Final = 2000
_WHOSE_ROW: Final = Template(
    "guess.ask.row", "{n} rows have the time of another row and other values: which column says whose row it is?"
)
_PARTED: Final = Template(
    "guess.rows.parted",
    "{n} rows have the time and the station of another row and other values, and column '{column}' separates them: "
    "write a column of values for each",
)

_NAMELESS: Final = Template(
    "guess.rows.nameless",
    "some names of '{column}' have no letter and no digit, or mean that there is no value, or come too seldom: give "
    "each station a name with a letter or digit, and import the file again",
)
RECORD: Final = "record"
ONE_RECORD: Final = "one record"
_TWO_FILES: Final = Template(
    "guess.ask.files",
    "{series} has other values in {name} than in {other} at {n} of {total} instants that both have: two instruments "
    "need different names in the headings of their columns; does the later file correct the earlier one?",
)


def request_station_column(
    table: RawTable, times: Times, numbers: Sequence[str], interview: Interview, station: str | None = None
) -> str | None:
    """Return the column that names the station of rows with the same time, or None if they need none.

    A person chooses the column. Until then the question is open.

    Args:
        table: The table of the file.
        times: The times of its rows.
        numbers: The columns of values.
        interview: The answers and open questions.
        station: The column that names the station of a row, if there is one.

    Raises:
        ConfigError: Rows of one station have the same time, and another column tells them apart.
    """
    if len(times.parsed) != table.rows:
        return None
    rows = set()
    keys = [*zip(times.parsed, table.columns[station] if station else times.parsed, strict=True)]
    for name in numbers:
        first: dict[Any, Any] = {}
        for k, (key, cell) in enumerate(zip(keys, table.columns[name], strict=True)):
            if not is_empty(cell) and first.setdefault(key, cell) != cell:
                rows.add(k)
    count = len(rows)
    if count < max(ROWS_LEAST, SHARE_LEAST * table.rows):
        return None
    parts = load_words("parts_of_station")
    others = [n for n in table.keys if n != station and (n not in numbers or parts.is_in(table.heading(n)))]
    columns = {table.heading(n): n for n in (others if station else table.keys) if _separates_rows(table, keys, n)}
    columns = {heading: n for heading, n in columns.items() if n not in times.rule.columns}
    if station is not None:
        for heading in columns:
            text = _PARTED(n=Figure(count, "d"), column=heading)
            raise ConfigError(LABELLED_TEXT(name=str(table.path), text=text))
        return None
    if not columns and (nameless := _find_nameless(table, keys)) is not None:
        raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_NAMELESS(column=table.heading(nameless))))
    return columns.get(interview.request(ROWS, _WHOSE_ROW(n=Figure(count, "d")), (*columns, NONE)) or NONE)


def request_one_record(
    series: str, files: Sequence[tuple[str, Iterable[tuple[datetime, float]]]], interview: Interview
) -> None:
    """Ask if files have different values of a series at the same times, because they may be two instruments.

    Args:
        series: Name of the series, `STATION.QUANTITY`.
        files: The name of each file, with the times and values of the series in it.
        interview: The answers and open questions.
    """
    earlier: dict[datetime, tuple[float, str]] = {}
    for name, values in files:
        own = dict(values)
        both = [at for at in own if at in earlier]
        other = [at for at in both if not isclose(earlier[at][0], own[at], rel_tol=1e-9)]
        if len(other) >= ROWS_LEAST:
            text = _TWO_FILES(
                series=series,
                name=name,
                other=earlier[other[0]][1],
                n=Figure(len(other), "d"),
                total=Figure(len(both), "d"),
            )
            interview.request(f"{RECORD}:{series}", text, (ONE_RECORD,))
            return
        earlier |= {at: (value, name) for at, value in own.items()}


def _find_nameless(table: RawTable, keys: Sequence[Any]) -> str | None:
    """Return the column of stations that tells the rows apart, though some of its names cannot be station ids."""
    for name in table.keys:
        if not is_station_column(table.heading(name)):
            continue
        texts = [str(cell) for cell in table.columns[name]]
        if len(set(zip(keys, texts, strict=True))) >= APART_LEAST * table.rows:
            return name
    return None


def _separates_rows(table: RawTable, keys: Sequence[Any], column: str) -> bool:
    cells = list_names(table.columns[column])
    names = set(cells)
    ids = {name_station(name) for name in names}
    if not 2 <= len(names) <= min(NAMES_MOST, table.rows // 2) or "" in ids or len(ids) < len(names):
        return False
    return len(set(zip(keys, cells, strict=True))) >= APART_LEAST * table.rows
