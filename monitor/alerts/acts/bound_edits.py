"""Bounds of a site file changed one by one: the rest of the file, its comments and its order stay as they are."""

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

NOT_BOUNDS: Final = frozenset({"kind", "id", "role", "stations", "series", "quantity", "author", "reason"})
_GONE: Final = Template("bound.gone", "the site file has no bound '{key}' any more; open the page of thresholds anew")
_SAME: Final = Template("bound.same", "nothing was changed")
_NO_NUMBER: Final = Template("bound.no_number", "{name}: expected a number, got '{value}'")
_DURATION: Final = re.compile(r"\d+(\.\d+)?[smhdw]")


@dataclass(frozen=True, slots=True)
class BoundField:
    """One figure of a criterion that a person may change."""

    key: str  # where it stands, such as `0.red.over`
    words: str  # the same for people, such as `red, over`
    value: str  # as the file writes it
    unit: str  # of the value; empty where it has none or a duration names its own
    is_duration: bool  # written as `6h`
    is_bound: bool  # it belongs to the bound of a level; the others say how a bound is judged


@dataclass(frozen=True, slots=True)
class CriterionFields:
    """A criterion with its figures, in the order of the file."""

    id: str
    kind: str
    stations: tuple[str, ...]
    quantity: str
    fields: tuple[BoundField, ...]


def list_fields(site: Site) -> list[CriterionFields]:
    """The figures of each criterion of a declaration; criteria without any are left out."""
    units, tables = find_declared_units(site), _criteria(tomlkit.parse(site.source))
    levels = {level.name for level in site.levels}
    found = []
    # what the file does not say and is implied, advice, stands behind its tables
    for number, (table, criterion) in enumerate(zip(tables, site.criteria, strict=False)):
        unit, figures = units[criterion.id], _figures(table.unwrap())
        fields = tuple(_describe(number, path, value, unit, levels) for path, value in figures)
        if fields:
            found.append(
                CriterionFields(criterion.id, criterion.kind.id, criterion.stations, criterion.quantity, fields)
            )
    return found


def change_fields(site: Site, values: Mapping[str, str], author: str, reason: str) -> str:
    """The site file with some figures changed; a criterion that changes names the author and the reason from then on.

    Args:
        values: key of a field -> what a person wrote; what equals the file changes nothing.

    Raises:
        RefusedError: a key that the file does not have, a number that is none, or nothing changed.
    """
    document = tomlkit.parse(site.source)
    tables = _criteria(document)
    known = {field.key: field for one in list_fields(site) for field in one.fields}
    changed = set()
    for key, written in values.items():
        field = known.get(key)
        if field is None:
            raise RefusedError(_GONE(key=key))
        if written.strip() == field.value:
            continue
        number, *path = key.split(".")
        table = tables[int(number)]
        *tables_down, last = path
        for name in tables_down:
            table = table[name]
        new = written.strip() if field.is_duration else _read_number(written, field, table[last])
        if new != table[last]:
            table[last] = new
            changed.add(int(number))
    if not changed:
        raise RefusedError(_SAME())
    for at in changed:
        tables[at]["author"], tables[at]["reason"] = author, reason
    return tomlkit.dumps(document)


def _criteria(document: tomlkit.TOMLDocument) -> Any:
    return document.get("criterion", [])


def _figures(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if not path and key in NOT_BOUNDS:
            continue
        if isinstance(value, Mapping):
            yield from _figures(value, (*path, key))
        elif (isinstance(value, int | float) and not isinstance(value, bool)) or (
            isinstance(value, str) and _DURATION.fullmatch(value)
        ):
            yield (*path, key), value


def _describe(number: int, path: tuple[str, ...], value: Any, unit: str, levels: set[str]) -> BoundField:
    is_duration = isinstance(value, str)
    return BoundField(
        ".".join((str(number), *path)),
        ", ".join(name.replace("_", " ") for name in path),
        value if is_duration else repr(value).removesuffix(".0"),
        unit if path[-1] in {"over", "under"} else "",
        is_duration,
        path[0] in levels,
    )


def _read_number(written: str, field: BoundField, old: object) -> int | float:
    text = written.strip().replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise RefusedError(_NO_NUMBER(name=field.words, value=written))
    return int(value) if isinstance(old, int) and value.is_integer() else value
