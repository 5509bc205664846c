"""Lines of tables of readings: the neutral long form, and any other form that a mapping explains."""

import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.files.coordinates import check_positions, replace_positions
from monitor.ingest.files.mapping import TableMapping, check_columns, is_missing, split_row
from monitor.ingest.files.reader import ImportOptions, ReadingLine
from monitor.ingest.files.tables import Row, find_day_zero, find_fault, format_fault, open_rows, require_columns
from monitor.ingest.files.time_rule import EXCEL
from monitor.ingest.text.cells import normalise_number

_NEEDED: Final = ("time", "station", "quantity", "value")
_OFFERED: Final = (*_NEEDED, "sigma", "site", "solution", "unit")
_NUMBERS: Final = ("value", "sigma")
# as `slopeward export SITE observations` calls them; its other columns are made of these, or anew where they come in
_EXPORTED: Final = {"observed_at": "time", "value_raw": "value"}


def is_long(names: Collection[str]) -> bool:
    """Whether columns are those of the neutral form, or of an export of observations.

    >>> is_long(["time", "station", "quantity", "value"]), is_long(["time", "station", "value"])
    (True, False)
    >>> is_long(["site", "station", "quantity", "unit", "observed_at", "value", "value_raw"])
    True
    """
    return {*_NEEDED} <= {*names} or ({*_NEEDED} - {"time"}) | {*_EXPORTED} <= {*names}


@contextmanager
def open_long(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open the neutral form `time,station,quantity,value[,sigma][,site][,solution][,unit]`, CSV or Parquet.

    An export of observations is of this form too: its raw values come in, revision by revision.

    Raises:
        ConfigError: the file is no such table.
    """
    with open_rows(path) as (names, rows):
        name = shlex.quote(str(path))
        also = f"[sigma, site, solution]; any other table: slopeward ingest {name} --guess, or a --mapping"
        if is_long(names) and "time" not in names:
            yield (_read_long({_EXPORTED.get(k, k): v for k, v in row.items() if k != "value"}) for row in rows)
            return
        require_columns(path, names, _NEEDED, also)
        yield (replace_positions(_read_long(row), options) for row in rows)


def _read_long(row: Row) -> ReadingLine:
    if error := find_fault(row):
        return ReadingLine(((format_fault(row), error),))
    if is_missing(row.get("value")):
        return ReadingLine(missing=1)
    given = {k: v for k, v in row.items() if k in _OFFERED and v is not None and v != ""}
    return ReadingLine(((given | {k: normalise_number(given[k]) for k in _NUMBERS if k in given}, None),))


@contextmanager
def open_wide(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open a table whose columns `said.mapping` explains.

    Raises:
        ConfigError: the file is no such table, or there is no mapping.
    """
    mapping = options.mapping
    if mapping is None:
        raise ConfigError(f"{path}: a wide table needs a --mapping")
    if mapping.time.format == EXCEL and mapping.time.since is None and (begin := find_day_zero(path)) is not None:
        mapping = replace(mapping, time=replace(mapping.time, since=begin))
    with open_rows(path, mapping.layout) as (names, rows):
        check_columns(names, mapping, str(path))
        check_positions(str(path), [rule.quantity for rule in mapping.columns], options)
        yield (replace_positions(_read_wide(row, mapping), options) for row in rows)


def _read_wide(row: Row, mapping: TableMapping) -> ReadingLine:
    if error := find_fault(row):
        return ReadingLine(((format_fault(row), error),))
    found = split_row(row, mapping)
    count = sum(rule.reads(row) for rule in mapping.columns)
    if not count and not any(rule.only and row.get(rule.only[0]) for rule in mapping.columns):
        try:  # neither a kind nor a time: no row of the table, such as the words of a query that failed
            mapping.time.read_row(row)
        except PayloadError as error:
            return ReadingLine(((format_fault(row), error),))
    return ReadingLine(tuple(found), count - len(found))
