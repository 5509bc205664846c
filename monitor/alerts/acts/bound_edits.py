"""Change single bounds of a site file. Everything else in the file, its comments and its order stay unchanged."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import tomlkit

from monitor.decision.criteria.bound_units import find_declared_units
from monitor.errors import RefusedError
from monitor.sites.records import Site
from monitor.text.message import Template
from monitor.text.numerals import has_ambiguous_comma

NOT_BOUNDS: Final = frozenset({"kind", "id", "role", "stations", "series", "quantity", "author", "reason"})
_GONE: Final = Template("bound.gone", "the site file no longer has the bound '{key}'; reload the page of thresholds")
_SAME: Final = Template("bound.same", "nothing was changed")
_NO_NUMBER: Final = Template("bound.no_number", "{name}: expected a number, got '{value}'")
_AMBIGUOUS: Final = Template(
    "bound.ambiguous_comma", "{name}: '{value}' can mean {thousands} or {decimal}; enter the number without a comma"
)
_DURATION: Final = re.compile(r"\d+(\.\d+)?[smhdw]")


@dataclass(frozen=True, slots=True)
class BoundField:
    """A figure of a criterion that a person may change.

    Attributes:
        key: Position in the file, such as `0.red.over`.
        words: Its name for people, such as `red, over`.
        value: The value as text of the file.
        unit: Unit of the value; empty without a unit, and for durations.
        is_duration: Whether the value is a duration such as `6h`.
        is_bound: Whether it belongs to the bound of a level. Other figures define how bounds are applied.
    """

    key: str
    words: str
    value: str
    unit: str
    is_duration: bool
    is_bound: bool


@dataclass(frozen=True, slots=True)
class CriterionFields:
    """A criterion and its figures, in the order of the file."""

    id: str
    kind: str
    stations: tuple[str, ...]
    quantity: str
    fields: tuple[BoundField, ...]


def list_fields(site: Site) -> list[CriterionFields]:
    """Return the figures of each criterion of a site file. Criteria without figures are left out."""
    units = find_declared_units(site)
    tables = _get_criterion_tables(tomlkit.parse(site.source))
    levels = {level.name for level in site.levels}
    criteria = []
    # Implied criteria, which are advice, follow those of the file and have no table.
    for number, (table, criterion) in enumerate(zip(tables, site.criteria, strict=False)):
        unit, figures = units[criterion.id], _list_figures(table.unwrap())
        fields = tuple(_make_field(number, path, value, unit, levels) for path, value in figures)
        if fields:
            criteria.append(
                CriterionFields(criterion.id, criterion.kind.id, criterion.stations, criterion.quantity, fields)
            )
    return criteria


def change_fields(site: Site, values: Mapping[str, str], author: str, reason: str) -> str:
    """Return the text of a site file with some figures changed. Changed criteria get the author and the reason.

    Args:
        values: The entered texts by the key of their field. Values equal to the file change nothing.

    Raises:
        RefusedError: The file has no such key, a number is not valid, or nothing changes.
    """
    document = tomlkit.parse(site.source)
    tables = _get_criterion_tables(document)
    fields = {field.key: field for criterion in list_fields(site) for field in criterion.fields}
    changed: set[int] = set()
    for key, text in values.items():
        field = fields.get(key)
        if field is None:
            raise RefusedError(_GONE(key=key))
        if text.strip() == field.value:
            continue
        position, *parents, name = key.split(".")
        table = tables[int(position)]
        for parent in parents:
            table = table[parent]
        new_value = text.strip() if field.is_duration else _read_number(text, field, table[name])
        if new_value != table[name]:
            table[name] = new_value
            changed.add(int(position))
    if not changed:
        raise RefusedError(_SAME())
    for number in changed:
        tables[number]["author"] = author
        tables[number]["reason"] = reason
    return tomlkit.dumps(document)


def _get_criterion_tables(document: tomlkit.TOMLDocument) -> Any:
    return document.get("criterion", [])


def _list_figures(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if not path and key in NOT_BOUNDS:
            continue
        if isinstance(value, Mapping):
            yield from _list_figures(value, (*path, key))
        elif (isinstance(value, int | float) and not isinstance(value, bool)) or (
            isinstance(value, str) and _DURATION.fullmatch(value)
        ):
            yield (*path, key), value


def _make_field(number: int, path: tuple[str, ...], value: Any, unit: str, levels: set[str]) -> BoundField:
    is_duration = isinstance(value, str)
    return BoundField(
        ".".join((str(number), *path)),
        ", ".join(name.replace("_", " ") for name in path),
        value if is_duration else repr(value).removesuffix(".0"),
        unit if path[-1] in {"over", "under"} else "",
        is_duration,
        path[0] in levels,
    )


def _read_number(entered: str, field: BoundField, old: object) -> int | float:
    cleaned = entered.strip().replace(",", ".")
    if has_ambiguous_comma(entered):
        thousands = entered.strip().replace(",", "")
        raise RefusedError(_AMBIGUOUS(name=field.words, value=entered, thousands=thousands, decimal=cleaned))
    try:
        value = float(cleaned)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise RefusedError(_NO_NUMBER(name=field.words, value=entered))
    return int(value) if isinstance(old, int) and value.is_integer() else value
