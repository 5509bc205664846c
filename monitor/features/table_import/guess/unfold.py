"""One column of values for several kinds of measurement, which another column names: a column for each kind."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from monitor.api.errors import ConfigError
from monitor.api.ingest import ColumnRule, read_unit
from monitor.api.text import LABELLED_TEXT, NameList, Template
from monitor.features.table_import.guess.names import is_no_measurement, read_heading
from monitor.features.table_import.guess.numerals import is_empty
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.words import load_words

KINDS_MOST: Final = 60
_MANY_UNITS: Final = Template(
    "guess.unfold.units", "rows of '{kind}' are in several units ({units}); give each unit a table of its own"
)


def unfold(
    table: RawTable, numbers: Sequence[str], station_column: str | None, time_columns: Sequence[str]
) -> tuple[RawTable, list[str], str | None, str | None]:
    """Split a column of values by the column that names what each row measures.

    The column of stations may name this too, as in "Crack 1" and "Rain gauge".

    Returns:
        The table with a column for each kind, its columns of numbers, the column of stations, and that of the kinds.

    Raises:
        ConfigError: Rows of one kind have several units.
    """
    values = [column for column in numbers if not is_no_measurement(table.heading(column))]
    if len(values) != 1:
        return table, list(numbers), station_column, None
    value = values[0]
    words = [column for column in table.keys if column not in {*numbers, *time_columns}]
    is_open = read_heading(table.heading(value), table.units.get(value)).quantity is None
    kind_column = _find_kind_column(table, words, station_column) if is_open else None
    unit_words = load_words("kinds", "units")
    unit_column = next((column for column in words if unit_words.is_whole(table.heading(column))), None)
    if kind_column is None:
        if unit_column is not None:
            written = _find_unit(table, unit_column, [True] * table.rows, value)
            table = _add_units(table, {value: written})
        else:
            table = _add_units(table, {})
        return table, list(numbers), station_column, None
    table, kinds = _split_kinds(table, value, kind_column, unit_column)
    others = [column for column in numbers if column != value]
    return table, [*kinds, *others], None if kind_column == station_column else station_column, kind_column


def _split_kinds(table: RawTable, value: str, kind_column: str, unit_column: str | None) -> tuple[RawTable, list[str]]:
    """Return the table with a column for each kind in place of its column of values, and these columns."""
    columns: dict[str, list[object]] = {}
    kinds: dict[str, tuple[str, str, str]] = {}
    written: dict[str, tuple[str, str]] = {}
    cells = table.columns[kind_column]
    for kind in dict.fromkeys(str(cell) for cell in cells if not is_empty(cell)):
        name = f"{value} [{kind}]"
        is_kind = [str(cell) == kind for cell in cells]
        columns[name] = [cell if counts else None for cell, counts in zip(table.columns[value], is_kind, strict=True)]
        kinds[name] = value, kind_column, kind
        if unit_column is not None:
            written[name] = _find_unit(table, unit_column, is_kind, kind)
    others = [name for name in table.keys if name != value]
    tails = dict.fromkeys(columns, table.tails[value]) if value in table.tails else {}
    units = dict.fromkeys(columns, table.units[value]) if value in table.units else {}
    table = replace(
        table,
        keys=(*columns, *others),
        columns=columns | {name: table.columns[name] for name in others},
        kinds=kinds,
        tails=table.tails | tails,
        units=table.units | units,
        headings=table.headings | {name: kind for name, (_, _, kind) in kinds.items()},
    )
    return _add_units(table, written), [*columns]


def fold(table: RawTable, rule: ColumnRule) -> ColumnRule:
    """Return a rule for the columns that the file has, instead of those that `unfold` made."""
    rule = replace(rule, tail=table.tails.get(rule.name, ""), written=table.written.get(rule.name))
    if rule.name not in table.kinds:
        return rule
    value, kind_column, kind = table.kinds[rule.name]
    return replace(rule, name=value, only=(kind_column, kind))


def _find_kind_column(table: RawTable, columns: Sequence[str], station_column: str | None) -> str | None:
    """Return the column of words that names what a row measures."""
    for column in columns:
        is_sure = load_words("kinds").starts(table.heading(column))
        if (
            not is_sure
            and not load_words("kinds", "doubtful").is_whole(table.heading(column))
            and column != station_column
        ):
            continue
        kinds = {str(cell) for cell in table.columns[column] if not is_empty(cell)}
        names_quantity = is_sure or any(read_heading(kind).quantity is not None for kind in kinds)
        if names_quantity and 1 <= len(kinds) <= min(KINDS_MOST, max(1, table.rows // 2)):
            return column
    return None


def _find_unit(table: RawTable, unit_column: str, is_counted: Sequence[bool], kind: str) -> tuple[str, str]:
    """Return the column of units and the one unit that it has in the rows of a kind; raises ConfigError."""
    cells = zip(table.columns[unit_column], is_counted, strict=True)
    counts = Counter(str(cell) for cell, is_kind in cells if is_kind and not is_empty(cell))
    if len(counts) > 1:
        text = _MANY_UNITS(kind=kind, units=NameList(tuple(counts)))
        raise ConfigError(LABELLED_TEXT(name=str(table.path), text=text))
    return unit_column, next(iter(counts), "")


def _add_units(table: RawTable, written: dict[str, tuple[str, str]]) -> RawTable:
    """Return the table with the units of its column of units, for columns whose heading has none."""
    known = {name: unit for name, (_, text) in written.items() if (unit := read_unit(text)) is not None}
    kept = {name: pair for name, pair in written.items() if name in known}
    return replace(table, units=known | table.units, written=kept)
