"""Columns of a panel that are components of one motion."""

from collections.abc import Sequence
from typing import Final

COMPONENTS: Final = ("east", "north")


def group_components(stations: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return the columns of each motion, by their names; a column without a partner is a group of its own.

    >>> group_components(("A.displacement_east", "A.displacement_north", "B.crack_width", "C.displacement_east"))
    ((0, 1), (2,), (3,))
    """
    columns_by_motion: dict[str, list[int]] = {}
    for column, name in enumerate(stations):
        component = next((suffix for suffix in COMPONENTS if name.endswith(suffix)), None)
        motion = name if component is None else f"{name.removesuffix(component)}*"
        columns_by_motion.setdefault(motion, []).append(column)
    return tuple(tuple(columns) for columns in columns_by_motion.values())
