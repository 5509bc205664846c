"""The unit that the name of a displacement states, as a factor to millimetres."""

from typing import Final

# length -> millimetres; a test holds it equal to `monitor.domain.quantities`, which this library may not import
LENGTHS: Final[dict[str, float]] = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "in": 25.4, "ft": 304.8}


def read_scale(quantity: str) -> float:
    """How many millimetres one unit of a quantity is, by the suffix of its name; 1 where the name states no length."""
    name, _, unit = quantity.strip().lower().rpartition("_")
    return LENGTHS.get(unit, 1.0) if name else 1.0
