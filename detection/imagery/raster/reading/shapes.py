"""Geometries from outside become outlines of ground: what is taken, what is not, and what is said of it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

POINTS: Final = frozenset({"Point", "MultiPoint"})
LINES: Final = frozenset({"LineString", "LinearRing", "MultiLineString"})
AREAS: Final = frozenset({"Polygon", "MultiPolygon"})
CLOSED_LEAST: Final = 4  # points of a line that closes: a triangle


class ReadOutlines(NamedTuple):
    """Outlines in the order of what was given, None where nothing could be made of one; and a sentence on each kind."""

    shapes: NDArray[Any]
    notes: tuple[str, ...]


def take_outlines(given: Sequence[Any] | NDArray[Any], *, points: bool = False) -> ReadOutlines:
    """Make valid outlines of geometries: polygons, those within collections, and lines that close.

    A polygon that crosses itself is mended so that its rings keep their roles: a hole stays a hole.

    Args:
        points: points stay as they are; else they are left out.

    >>> square = shapely.Polygon([(0, 0), (1, 0), (1, 1), (0, 1)])
    >>> mixed = shapely.GeometryCollection([square, shapely.Point(5, 5)])
    >>> taken = take_outlines([square, square.exterior, mixed, shapely.Point(0, 0), None])
    >>> [None if one is None else one.area for one in taken.shapes]
    [1.0, 1.0, 1.0, None, None]
    >>> taken.notes[0]
    '2 of 5 geometries are left out: 1 without geometry, 1 Point'
    """
    found, left, noted = np.empty(len(given), object), Counter[str](), Counter[str]()
    for place, one in enumerate(given):
        if one is None or one.is_empty:
            left["without geometry"] += 1
        elif not np.isfinite(shapely.get_coordinates(one)).all():
            left["with coordinates that are no numbers"] += 1
        elif one.geom_type in AREAS or (points and one.geom_type in POINTS):
            found[place] = one
        else:
            made = [_close(part) for part in _flatten(one)]
            if not any(made):
                left[one.geom_type] += 1
                continue
            found[place] = shapely.union_all([part for part in made if part is not None])
            noted["closed lines are taken as outlines"] += one.geom_type in LINES
            noted["points or open lines within collections are left out"] += made.count(None)
    held = np.array([one is not None for one in found], bool)
    broken = held.copy()
    broken[held] = ~shapely.is_valid(found[held])
    if broken.any():
        noted["outlines cross themselves; check them"] = int(broken.sum())
        found[broken] = [_keep_areas(one) for one in shapely.make_valid(found[broken], method="structure")]
        for place in np.flatnonzero(broken).tolist():
            if found[place] is None:
                left["without area"] += 1
    notes = []
    if left:
        kinds = ", ".join(f"{many:,} {kind}" for kind, many in sorted(left.items(), reverse=True))
        notes.append(f"{sum(left.values()):,} of {len(given):,} geometries are left out: {kinds}")
    notes += [f"{many:,} {what}" for what, many in sorted(noted.items()) if many]
    return ReadOutlines(found, tuple(notes))


def _flatten(one: Any) -> list[Any]:
    if hasattr(one, "geoms"):
        return [part for own in one.geoms for part in _flatten(own)]
    return [one]


def _close(part: Any) -> Any:
    if part.geom_type == "Polygon" and not part.is_empty:
        return part if part.is_valid else _keep_areas(shapely.make_valid(part, method="structure"))
    if part.geom_type in LINES and part.is_closed and len(part.coords) >= CLOSED_LEAST:
        return _keep_areas(shapely.make_valid(shapely.Polygon(part.coords), method="structure"))
    return None


def _keep_areas(one: Any) -> Any:
    parts = [part for part in _flatten(one) if part.geom_type == "Polygon" and not part.is_empty]
    return shapely.union_all(parts) if parts else None
