"""What was found in a table, as lines for its owner: a word or a heading, and a message."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from monitor.api.ingest import ColumnRule
from monitor.api.sites import Origin, is_raw
from monitor.api.text import Figure, Message, Template, Term, Value, join
from monitor.features.table_import.guess.columns import read_column_heading
from monitor.features.table_import.guess.numerals import COMMA, POINT, Numerals
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.times import Times, describe_gaps
from monitor.features.table_import.guess.together import name_some

Facts = list[tuple[str, str]]

# A series is named as seldom if its interval is this many times the interval of the rows.
_SELDOM: Final = 1.5
_DELIMITERS: Final = {"\t": "tab", ";": "semicolon", ",": "comma", "|": "bar", "whitespace": "blanks"}
_WITHOUT_CELLS_OF_TEXT: Final = (".parquet", ".pq", ".xlsx", ".xlsm")

_ROWS: Final = Template("guess.rows", "{n} rows of {columns} columns")
_ROWS_MORE: Final = Template("guess.rows.more", "{n} rows of {columns} columns, and there are more")
_PARTED: Final = Template("guess.layout.parted", "cells separated by {sign}, {encoding}")
_FIXED: Final = Template("guess.layout.fixed", "columns of fixed width, {encoding}")
_EARLY: Final = Template(
    "guess.early", "{n} rows of data are above the headings of the columns: they go to the quarantine"
)
_MISSING: Final = Template("guess.missing", "{word} × {n}")
_RAW: Final = Template(
    "guess.left.raw",
    "left out: '{unit}' is a reading as it comes from the sensor; the calibration sheet turns it into a unit",
)
IN_COLUMN: Final = Template("guess.column", "station {station}: {quantity} in {unit}")
_COLUMN_ERROR: Final = Template(
    "guess.column.error", "station {station}: {quantity} in {unit}, its error in '{column}'"
)
_NAMED: Final = Template("guess.column.named", "the station that '{name}' names: {quantity} in {unit}")
_NAMED_ERROR: Final = Template(
    "guess.column.named_error", "the station that '{name}' names: {quantity} in {unit}, its error in '{column}'"
)
EVERY: Final = Template("guess.every", "every {step}")
_EVERY_SERIES: Final = Template("guess.every.series", "every {step} in a series")
_EVERY_OF: Final = Template("guess.every.of", "every {step} of {columns}")
GAPS: Final = Template("guess.gaps", "{n} gaps, the longest {longest}")
_TWICE: Final = Template("guess.twice", "{n} times come twice")
_REFERENCE: Final = Template("guess.reference", "coordinates of {n} stations count from their reading at {at} UTC")
_REFERENCES: Final = Template(
    "guess.reference.many", "coordinates of {n} stations count from their readings at {first} to {last} UTC"
)


def describe_layout(table: RawTable) -> Facts:
    """Return how many rows a table has, its sheets, and how its cells are separated."""
    template = _ROWS if table.is_whole else _ROWS_MORE
    facts: Facts = [("file", template(n=Figure(table.rows, ","), columns=len(table.keys)))]
    if len(table.sheets) > 1:
        read = table.layout.sheets or table.sheets[:1]
        others = [name for name in table.sheets if name not in read]
        facts.append(("sheet", join(read, ", ")))
        if others:
            facts.append(("other sheets", join([name_some(others)])))
    if table.path.suffix.lower() in _WITHOUT_CELLS_OF_TEXT:
        return facts
    encoding = table.layout.encoding.removesuffix("-sig")
    if table.layout.starts:
        return [*facts, ("layout", _FIXED(encoding=encoding))]
    delimiter = Term(_DELIMITERS[table.layout.delimiter])
    return [*facts, ("layout", _PARTED(sign=delimiter, encoding=encoding))]


def describe_numerals(numerals: Numerals) -> Facts:
    """Return the decimal mark of a table, and its words for missing measurements."""
    facts: Facts = [("decimal mark", COMMA if numerals.decimal == "," else POINT)]
    if numerals.missing:
        counts = [_MISSING(word=text, n=Figure(count, "d")) for text, count in numerals.missing.items()]
        facts.append(("no measurement", join(counts, ", ")))
    return facts


def describe_columns(
    table: RawTable,
    rules: Sequence[ColumnRule],
    station_column: str | None,
    left_out: Sequence[str],
    reasons: Mapping[str, Message],
) -> Facts:
    """Return what is left out, what each column is, and the columns whose sign is turned.

    Args:
        table: The table.
        rules: The rules of the columns that are read.
        station_column: The column that names the station of each row, if there is one.
        left_out: Columns that are not read.
        reasons: Why columns are left out that could be read.
    """
    parts: list[Value] = [_EARLY(n=Figure(table.early, ","))] if table.early else []
    if left_out:
        parts.append(join(map(table.heading, left_out), ", "))
    facts: Facts = [("left out", join(parts))] if parts else []
    for column in left_out:
        foreign = read_column_heading(table, column).foreign
        if is_raw(foreign):
            facts.append((column, _RAW(unit=foreign)))
    facts += [(table.heading(column), reason) for column, reason in reasons.items()]
    facts += [(table.heading(rule.name), _describe_column(table, rule, station_column)) for rule in rules]
    turned = [table.heading(rule.name) for rule in rules if rule.downward]
    if turned:
        facts.append(("sign turned", join([name_some(turned)])))
    return facts


def _describe_column(table: RawTable, rule: ColumnRule, station_column: str | None) -> Message:
    values: dict[str, Value] = {"quantity": Term(rule.quantity), "unit": rule.unit}
    if rule.sigma:
        values["column"] = table.heading(rule.sigma)
    if rule.station:
        template = _COLUMN_ERROR if rule.sigma else IN_COLUMN
        return template(station=rule.station, **values)
    template = _NAMED_ERROR if rule.sigma else _NAMED
    return template(name=str(station_column), **values)


def describe_sampling(times: Times) -> Facts:
    """Return the usual interval of the rows, the gaps, and how many times occur twice."""
    step, gaps, longest = describe_gaps(times.parsed)
    if step is None:
        return []
    facts = [EVERY(step=_format_step(step))]
    if gaps and longest is not None:
        facts.append(GAPS(n=Figure(gaps, "d"), longest=_format_step(longest)))
    if twice := len(times.parsed) - len(set(times.parsed)):
        facts.append(_TWICE(n=Figure(twice, "d")))
    return [("sampling", join(facts))]


def describe_series_sampling(steps: Sequence[timedelta]) -> Facts:
    """Return the usual interval of the series of a table in which rows belong to different series."""
    ordered = sorted(steps)
    if not ordered:
        return []
    return [("sampling", _EVERY_SERIES(step=_format_step(ordered[len(ordered) // 2])))]


def describe_seldom(times: Times, intervals_s: Mapping[str, float | None]) -> Facts:
    """Return the columns that have a value in few of the rows, by their heading and interval."""
    usual = describe_gaps(times.parsed)[0]
    if usual is None:
        return []
    seldom: dict[float, list[str]] = {}
    for heading, interval_s in intervals_s.items():
        if interval_s and interval_s > _SELDOM * usual.total_seconds():
            seldom.setdefault(interval_s, []).append(heading)
    return [
        ("sampling", _EVERY_OF(step=_format_step(timedelta(seconds=interval_s)), columns=name_some(headings)))
        for interval_s, headings in seldom.items()
    ]


def describe_reference(origins: Sequence[tuple[str, Origin]]) -> Facts:
    """Return the readings that displacement counts from; nothing if no station has an origin."""
    since = sorted(origin.since for _, origin in origins)
    if not since:
        return []
    first, last = f"{since[0]:%Y-%m-%d %H:%M}", f"{since[-1]:%Y-%m-%d %H:%M}"
    if first == last:
        return [("reference", _REFERENCE(n=len(origins), at=first))]
    return [("reference", _REFERENCES(n=len(origins), first=first, last=last))]


def _format_step(step: timedelta) -> Figure:
    seconds = step.total_seconds()
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= unit:
            return Figure(seconds / unit, ".4g", name)
    return Figure(seconds, "g", "s")
