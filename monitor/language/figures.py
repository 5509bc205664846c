"""How figures and levels are shown: numbers with their digits, spans of time, the colour of a level."""

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


def spell_number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, no exponent for usual sizes.

    >>> spell_number(1234.5678), spell_number(0.012345), spell_number(None)
    ('1235', '0.0123', '–')
    """
    if value is None:
        return "–"
    if value and abs(value) >= 10**digits:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def spell_span(seconds: float) -> str:
    """The length of a window, as the sentences of movement say it.

    >>> spell_span(115200.0), spell_span(604800.0)
    ('32 h', '7 d')
    """
    return f"{seconds / 86400:.3g} d" if seconds >= 172800 else f"{seconds / 3600:.3g} h"


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
