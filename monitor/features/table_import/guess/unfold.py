"""One column of values for several kinds of measurement, where another column says which: a column for each kind."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from monitor.api.errors import ConfigError
from monitor.api.ingest import ColumnRule, read_unit
from monitor.api.text import LABELLED_TEXT, NameList, Template
from monitor.features.table_import.guess.names import is_no_measurement, read_name
from monitor.features.table_import.guess.numerals import is_empty
from monitor.features.table_import.guess.raw_table import RawTable

KINDS_MOST: Final = 60
_MANY_UNITS: Final = Template(
    "guess.unfold.units", "rows of '{kind}' are in several units ({units}); give each unit a table of its own"
)
# surely of kinds; and where a kind says a quantity
_KINDS: Final = re.compile(
    r"^(?:_field$|param\w*|par[aá]m\w*|variable|quantity|measurand|observable|messgr(?:ö|oe)(?:ß|ss)e|grandezza|magnitud|物理量)",
    re.IGNORECASE,
)
_MAYBE: Final = re.compile(
    r"^(?:type|typ|tipo|kind|art|channel|kanal|canale?|item|series|serie|tag|measurement|messung|misura|mesure|medida)$",
    re.IGNORECASE,
)
_UNIT: Final = re.compile(r"^(?:units?|einheit|unit[àé]|unidad|单位)$", re.IGNORECASE)


def unfold(
    table: RawTable, numbers: Sequence[str], station: str | None, taken: Sequence[str]
) -> tuple[RawTable, list[str], str | None, str | None]:
    """The table with a column for each kind, its columns of numbers, the column of stations, and that of the kinds.

    The column of stations may say the kind too ("Crack 1", "Rain gauge"); `taken` are the columns of the time. Raises
    ConfigError where rows of one kind have several units.
    """
    values = [n for n in numbers if not is_no_measurement(table.title(n))]
    if len(values) != 1:
        return table, list(numbers), station, None
    value = values[0]
    words = [n for n in table.names if n not in {*numbers, *taken}]
    is_open = read_name(table.title(value), table.units.get(value)).quantity is None
    by = _find_kinds(table, words, station) if is_open else None
    units = next((n for n in words if _UNIT.match(table.title(n))), None)
    if by is None:
        written = {value: _find_unit(table, units, [True] * table.rows, value)} if units else {}
        return _with_units(table, written), list(numbers), station, None
    table, kinds = _split_kinds(table, value, by, units)
    return table, [*kinds, *(n for n in numbers if n != value)], None if by == station else station, by


def _split_kinds(table: RawTable, value: str, by: str, units: str | None) -> tuple[RawTable, list[str]]:
    """The table with a column for each kind that column `by` names instead of its one of values, and their names."""
    columns: dict[str, list[object]] = {}
    kinds: dict[str, tuple[str, str, str]] = {}
    written: dict[str, tuple[str, str]] = {}
    for kind in dict.fromkeys(str(c) for c in table.columns[by] if not is_empty(c)):
        name = f"{value} [{kind}]"
        counts = [str(c) == kind for c in table.columns[by]]
        columns[name] = [c if does else None for c, does in zip(table.columns[value], counts, strict=True)]
        kinds[name] = value, by, kind
        if units is not None:
            written[name] = _find_unit(table, units, counts, kind)
    table = replace(
        table,
        names=(*columns, *(n for n in table.names if n != value)),
        columns=columns | {n: c for n, c in table.columns.items() if n != value},
        kinds=kinds,
        tails=table.tails | (dict.fromkeys(columns, table.tails[value]) if value in table.tails else {}),
        units=table.units | (dict.fromkeys(columns, table.units[value]) if value in table.units else {}),
        titles=table.titles | {name: kind for name, (_, _, kind) in kinds.items()},
    )
    return _with_units(table, written), [*columns]


def fold(table: RawTable, rule: ColumnRule) -> ColumnRule:
    """A rule of the table as it is in the file."""
    rule = replace(rule, tail=table.tails.get(rule.name, ""), written=table.written.get(rule.name))
    if rule.name not in table.kinds:
        return rule
    value, by, kind = table.kinds[rule.name]
    return replace(rule, name=value, only=(by, kind))


def _find_kinds(table: RawTable, columns: Sequence[str], station: str | None) -> str | None:
    """The column of words that says what a row measures."""
    for name in columns:
        title = table.title(name)
        is_sure = _KINDS.match(title) is not None
        if not is_sure and _MAYBE.match(title) is None and name != station:
            continue
        kinds = {str(c) for c in table.columns[name] if not is_empty(c)}
        says = is_sure or any(read_name(kind).quantity is not None for kind in kinds)
        if says and 1 <= len(kinds) <= min(KINDS_MOST, max(1, table.rows // 2)):
            return name
    return None


def _find_unit(table: RawTable, units: str, counts: Sequence[bool], kind: str) -> tuple[str, str]:
    counted = Counter(str(c) for c, does in zip(table.columns[units], counts, strict=True) if does and not is_empty(c))
    if len(counted) > 1:
        text = _MANY_UNITS(kind=kind, units=NameList(tuple(counted)))
        raise ConfigError(LABELLED_TEXT(name=str(table.path), text=text))
    return units, next(iter(counted), "")


def _with_units(table: RawTable, written: dict[str, tuple[str, str]]) -> RawTable:
    """The table with what its column of units says, of columns that do not say it themselves."""
    given = {name: pair for name, pair in written.items() if pair[1]}
    known = {name: unit for name, (_, unit_text) in given.items() if (unit := read_unit(unit_text)) is not None}
    return replace(table, units=known | table.units, written={n: pair for n, pair in given.items() if n in known})
