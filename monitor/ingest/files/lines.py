"""Readers of tables of readings: the neutral long form, and any wide table with a mapping."""

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
# Names in the output of `slopeward export SITE observations`. Its other columns are derived when they are imported.
_EXPORTED: Final = {"observed_at": "time", "value_raw": "value"}


def is_long(names: Collection[str]) -> bool:
    """Return whether columns are those of the neutral form, or of an export of observations.

    >>> is_long(["time", "station", "quantity", "value"]), is_long(["time", "station", "value"])
    (True, False)
    >>> is_long(["site", "station", "quantity", "unit", "observed_at", "value", "value_raw"])
    True
    """
    return {*_NEEDED} <= {*names} or ({*_NEEDED} - {"time"}) | {*_EXPORTED} <= {*names}


@contextmanager
def open_long(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open the neutral form `time,station,quantity,value[,sigma][,site][,solution][,unit]`, CSV or Parquet.

    An export of observations has this form, too: its raw values are imported, one revision after the other.

    Raises:
        ConfigError: The file does not have this form.
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
    fault = find_fault(row)
    if fault is not None:
        return ReadingLine(((format_fault(row), fault),))
    if is_missing(row.get("value")):
        return ReadingLine(missing=1)
    reading = {name: cell for name, cell in row.items() if name in _OFFERED and cell is not None and cell != ""}
    for name in _NUMBERS:
        if name in reading:
            reading[name] = normalise_number(reading[name])
    return ReadingLine(((reading, None),))


@contextmanager
def open_wide(path: Path, options: ImportOptions) -> Iterator[Iterator[ReadingLine]]:
    """Open a wide table whose columns `options.mapping` explains.

    Raises:
        ConfigError: The table lacks a column of the mapping, or there is no mapping.
    """
    mapping = options.mapping
    if mapping is None:
        raise ConfigError(f"{path}: a wide table needs a --mapping")
    if mapping.time.format == EXCEL and mapping.time.since is None:
        mapping = replace(mapping, time=replace(mapping.time, since=find_day_zero(path)))
    with open_rows(path, mapping.layout) as (names, rows):
        check_columns(names, mapping, str(path))
        check_positions(str(path), [rule.quantity for rule in mapping.columns], options)
        yield (replace_positions(_read_wide(row, mapping), options) for row in rows)


def _read_wide(row: Row, mapping: TableMapping) -> ReadingLine:
    fault = find_fault(row)
    if fault is not None:
        return ReadingLine(((format_fault(row), fault),))
    rows = split_row(row, mapping)
    expected = sum(rule.reads(row) for rule in mapping.columns)
    has_kind = any(rule.only and row.get(rule.only[0]) for rule in mapping.columns)
    if not expected and not has_kind:
        # Without a kind and a time it is not a row of the table, but for example the error message of a query.
        try:
            mapping.time.read_row(row)
        except PayloadError as error:
            return ReadingLine(((format_fault(row), error),))
    return ReadingLine(tuple(rows), expected - len(rows))
