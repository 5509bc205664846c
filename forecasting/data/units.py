"""Units of displacement and time: the factor to millimetres that a name states, and how a span is written."""

from typing import Final

# length -> millimetres; a test holds it equal to `monitor.domain.quantities`, which this library may not import
LENGTHS: Final = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "mil": 0.0254, "in": 25.4, "ft": 304.8}


def read_scale(quantity: str) -> float:
    """How many millimetres one unit of a quantity is, by the suffix of its name; 1 where the name states no length."""
    name, _, unit = quantity.strip().lower().rpartition("_")
    return LENGTHS.get(unit, 1.0) if name else 1.0


def format_span(horizon_s: float) -> str:
    """A horizon as people write it.

    >>> format_span(604800.0), format_span(10800.0), format_span(900.0)
    ('7 d', '3 h', '15 min')
    """
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if horizon_s >= unit:
            return f"{horizon_s / unit:g} {name}"
    return f"{horizon_s:g} s"
