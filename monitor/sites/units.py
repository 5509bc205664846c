"""Table of units: conversion to the canonical unit, and how units are spelled. The data is in `units.toml`."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

_SIGNS: Final = str.maketrans({"²": "2", "³": "3", "₂": "2", "μ": "µ", "º": "°", "˚": "°", "^": "", "·": " "})


class Unit(NamedTuple):
    """A unit, with `value in canonical unit = value * factor + offset`."""

    canonical: str
    factor: float = 1.0
    offset: float = 0.0


def _normalize(text: str) -> str:
    return " ".join(text.translate(_SIGNS).lower().split())


def _list_spellings(kind: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(table.get(kind, ())) for name, table in _TABLES.items()}


def _index(spellings: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {_normalize(text): name for name, texts in spellings.items() for text in texts}


_TABLES: Final[dict[str, dict[str, Any]]] = tomllib.loads((Path(__file__).parent / "units.toml").read_text("utf-8"))
UNITS: Final[dict[str, Unit]] = {
    name: Unit(table["canonical"], table.get("factor", 1.0), table.get("offset", 0.0))
    for name, table in _TABLES.items()
}
# Unit -> how loggers and people write it, without the name of the unit itself.
SPELLINGS: Final = _list_spellings("spellings")
_BY_SPELLING: Final = {_normalize(name): name for name in UNITS} | _index(SPELLINGS)
_BY_CF_SPELLING: Final = _BY_SPELLING | _index(_list_spellings("cf"))
_BY_SENML_SYMBOL: Final = {symbol: name for name, symbols in _list_spellings("senml").items() for symbol in symbols}


def find_unit(text: str) -> str | None:
    """Return the unit that a text names; None if the text is no known spelling.

    >>> find_unit("Metres"), find_unit("m s⁻²"), find_unit("N/mm²"), find_unit("furlong")
    ('m', None, 'MPa', None)
    """
    return _BY_SPELLING.get(_normalize(text))


def find_cf_unit(text: str) -> str | None:
    """Return the unit that the metadata of a grid names; None if the text is no known spelling.

    >>> find_cf_unit("kg m-2"), find_cf_unit("mm/year"), find_cf_unit("furlong")
    ('mm', 'mm/yr', None)
    """
    return _BY_CF_SPELLING.get(_normalize(text))


def find_senml_unit(symbol: str) -> str | None:
    """Return the unit of a symbol of the SenML units registry; None if the table has no entry for the symbol.

    >>> find_senml_unit("Cel"), find_senml_unit("mm")
    ('degC', None)
    """
    return _BY_SENML_SYMBOL.get(symbol)
