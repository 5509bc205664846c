"""How figures and levels are shown: numbers with their digits, spans of time, the colour of a level."""

from math import floor, log10
from typing import Final

# names people use for levels -> place on the colour ramp; other names are spread by rank
KNOWN_COLOURS: Final = {
    "green": "0",
    "blue": "b",
    "yellow": "1",
    "amber": "1",
    "orange": "2",
    "red": "3",
    "purple": "4",
}


def format_number(value: float | None, digits: int = 3, unit: str = "") -> str:
    """A number with so many digits, whole ones never rounded to tens; levels in m have two decimals.

    >>> [format_number(x) for x in (1234.5678, 999.6, 302.4, 0.012345, 21.40, 0.0, None)]
    ['1235', '1000', '302', '0.0123', '21.4', '0', '–']
    >>> format_number(1843.271, 4, "m"), format_number(12.3456, 4, "m")
    ('1843.27', '12.35')
    """
    return "–" if value is None else format(value, find_form(value, digits, unit))


def format_to_width(value: float | None, width: float, digits: int = 3) -> str:
    """Return a number rounded to two significant digits of the width of its interval, never to tens.

    Args:
        value: The number; None for a dash.
        width: Width of the interval in the same unit. If it is 0, `digits` significant digits are returned.

    >>> [format_to_width(x, 172.65) for x in (124.52, 38.2, 210.85)]
    ['125', '38', '211']
    >>> [format_to_width(x, 0.0664) for x in (0.0234, -0.00974, -0.0001)], format_to_width(124.52, 0.0)
    (['0.023', '-0.010', '0.000'], '125')
    """
    if value is None or not width > 0.0:
        return format_number(value, digits)
    decimals = max(0, 1 - floor(log10(width)))
    # Adding 0 turns a negative zero into zero.
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def find_form(value: float, digits: int = 3, unit: str = "") -> str:
    """The form of a number that is shown so."""
    if unit == "m" and abs(value) >= 100:
        return ".2f"
    return ".0f" if abs(value) >= 10 ** (digits - 1) else f".{digits}g"


def level_class(name: str | None, number: int | None, top: int) -> str:
    """Which colour a level gets: its own name's where that is one, else its place on the ladder.

    >>> level_class("orange", 2, 3), level_class("stufe 3", 3, 3), level_class(None, None, 3)
    ('2', '3', 'u')
    """
    if number is None:
        return "u"
    if name is not None and name.lower() in KNOWN_COLOURS:
        return KNOWN_COLOURS[name.lower()]
    return str(round(3 * number / max(top, 1)))
