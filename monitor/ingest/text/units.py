"""Find the unit in the heading of a column, in a cell or in a message."""

import re
from typing import Final

from monitor.sites.units import SPELLINGS, UNITS, find_unit

_BRACKETED: Final = re.compile(r"[\[(/]\s*([^\[\]()]+?)\s*[\])]?\s*$")
# The index of an array of a logger, such as Press_kPa(1).
_INDEX: Final = re.compile(r"(?<=[\w\])])\((\d+)\)$")
# A part of a unit, such as 1/10 mm. It is not the name of an instrument, and 0.1 m is a depth.
_SHARE: Final = re.compile(
    r"(?<![^\W_])(?<![./,\[(])(?:[x×] ?)?(?:1 ?/ ?10+|0?[.,]0*1(?! ?(?:m|cm|ft)(?!\w)))[ _]?"
    r"([^\W\d_]+(?:/[^\W\d_]+)?)(?![\w/)\]])"
)
_DEPTH: Final = re.compile(r"(?<![\w.,/])(\d+(?:[.,]\d+)?) ?(m|cm|ft)(?![\w/])")
_DEPTH_INSIDE: Final = re.compile(r"[\[(]\s*[-@]?\s*(\d+(?:[.,]\d+)?)\s*(m|cm|ft)(?:\s+[^\W\d]+\.?)?\s*[\])]")
_TAIL: Final = re.compile(r"(?:^|[\s_.\-])([A-Za-zµ°%]+)$")
_WIDE: Final = str.maketrans("（）［］／", "()[]/")
_METRES: Final = frozenset(
    spelling for unit in ("mm", "cm", "um", "m") for spelling in SPELLINGS[unit] if "met" in spelling
)
_TAILS: Final = frozenset({"mm", "cm", "um", "kpa", "mpa", "hpa", "mbar", "mrad", "urad", "degc", "inches", *_METRES})


def unit_of_header(name: str) -> str | None:
    """Return the unit in a heading, or None if it has none that is known.

    >>> unit_of_header("ATU1/mm"), unit_of_header("Level [m]"), unit_of_header("disp_cm"), unit_of_header("G1_in")
    ('mm', 'm', 'cm', None)
    >>> unit_of_header("v [mm/day]"), unit_of_header("Rain"), unit_of_header("T (°C)")
    ('mm/day', None, 'degC')
    >>> unit_of_header("disp_millimetres"), unit_of_header("mm"), unit_of_header("位移（毫米）")
    ('mm', 'mm', 'mm')
    """
    text = join_depths(name.translate(_WIDE).strip())
    inside = re.search(r"[\[(]\s*([^\[\]()]+?)\s*[\])]\s*$", text)
    if inside is not None:
        return find_unit(inside.group(1))
    if (slash := _BRACKETED.search(text)) is not None:
        return find_unit(slash.group(1))
    tail = _TAIL.search(text)
    return find_unit(tail.group(1)) if tail is not None and tail.group(1).lower() in _TAILS else None


def join_depths(name: str) -> str:
    """Return a heading with a depth as one word, an index as a separate word, and a part of a unit in brackets.

    In this form a depth or an index is not read as a unit.

    >>> join_depths("Piezo P1 (5 m) [kPa]"), join_depths("Soil moisture 30 cm"), join_depths("Crack 3 mm")
    ('Piezo P1 5m [kPa]', 'Soil moisture 30cm', 'Crack 3 mm')
    """
    name = _INDEX.sub(r" \1", name)
    name = _SHARE.sub(lambda found: f"[{found[0]}]" if find_unit(found[1]) else found[0], name)
    return _DEPTH.sub(lambda found: f"{found[1]}{found[2]}", _DEPTH_INSIDE.sub(r"\1\2", name))


def read_unit(text: str) -> str | None:
    """Return the unit that a cell names, with or without brackets, or None if it names none that is known.

    >>> read_unit("[mm]"), read_unit("°C"), read_unit("Avg"), read_unit("(kPa)")
    ('mm', 'degC', None, 'kPa')
    """
    return find_unit(text.translate(_WIDE).strip().strip("[]()"))


def read_symbol(text: str) -> str:
    """Return the unit that a message names, or its text unchanged.

    The text is unchanged if it names no unit, or if its case means another prefix, as in mPa.

    >>> read_symbol("metres"), read_symbol("°C"), read_symbol("MM"), read_symbol("mPa"), read_symbol("odd")
    ('m', 'degC', 'mm', 'mPa', 'odd')
    """
    known = None if text in UNITS else read_unit(text)
    return known if known and (text.islower() or text.isupper() or len(text) > 3) else text


def is_sure_unit(text: str) -> bool:
    """Return whether a word is a unit at any place in a heading."""
    return text.lower() in _TAILS
