"""Extract outlines of ground from geometries of any kind, with a note on each kind that is left out or changed."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

POINTS: Final = frozenset({"Point", "MultiPoint"})
LINES: Final = frozenset({"LineString", "LinearRing", "MultiLineString"})
AREAS: Final = frozenset({"Polygon", "MultiPolygon"})
LEAST_VERTICES: Final = 4  # of a closed line with an area: a triangle repeats its first vertex at the end


class ExtractedOutlines(NamedTuple):
    """Outlines in the order of the geometries, None where a geometry has no outline, and notes on what was changed."""

    shapes: NDArray[Any]
    notes: tuple[str, ...]


def extract_outlines(geometries: Sequence[Any] | NDArray[Any], *, points: bool = False) -> ExtractedOutlines:
    """Return valid outlines from polygons, from polygons within collections, and from closed lines.

    A polygon that crosses itself is repaired so that its rings keep their roles: a hole stays a hole.

    Args:
        geometries: shapely geometries or None.
        points: keep points. Otherwise they are left out.

    >>> square = shapely.Polygon([(0, 0), (1, 0), (1, 1), (0, 1)])
    >>> mixed = shapely.GeometryCollection([square, shapely.Point(5, 5)])
    >>> taken = extract_outlines([square, square.exterior, mixed, shapely.Point(0, 0), None])
    >>> [None if shape is None else shape.area for shape in taken.shapes]
    [1.0, 1.0, 1.0, None, None]
    >>> taken.notes[0]
    '2 of 5 geometries are left out: 1 without geometry, 1 Point'
    """
    outlines = np.empty(len(geometries), object)
    left_out, changed = Counter[str](), Counter[str]()
    for position, geometry in enumerate(geometries):
        if geometry is None or geometry.is_empty:
            left_out["without geometry"] += 1
        elif not np.isfinite(shapely.get_coordinates(geometry)).all():
            left_out["with coordinates that are no numbers"] += 1
        elif geometry.geom_type in AREAS or (points and geometry.geom_type in POINTS):
            outlines[position] = geometry
        else:
            areas = [_make_area(part) for part in _list_parts(geometry)]
            if not any(areas):
                left_out[geometry.geom_type] += 1
                continue
            outlines[position] = shapely.union_all([area for area in areas if area is not None])
            changed["closed lines are taken as outlines"] += geometry.geom_type in LINES
            changed["points or open lines within collections are left out"] += areas.count(None)
    is_broken = np.array([outline is not None for outline in outlines], bool)
    is_broken[is_broken] = ~shapely.is_valid(outlines[is_broken])
    if is_broken.any():
        changed["outlines cross themselves; check them"] = int(is_broken.sum())
        repaired = shapely.make_valid(outlines[is_broken], method="structure")
        outlines[is_broken] = [_keep_areas(geometry) for geometry in repaired]
        without_area = sum(outline is None for outline in outlines[is_broken])
        if without_area:
            left_out["without area"] += without_area
    notes = []
    if left_out:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(left_out.items(), reverse=True))
        notes.append(f"{sum(left_out.values()):,} of {len(geometries):,} geometries are left out: {kinds}")
    notes += [f"{count:,} {change}" for change, count in sorted(changed.items()) if count]
    return ExtractedOutlines(outlines, tuple(notes))


def _list_parts(geometry: Any) -> list[Any]:
    """Return the parts of a collection at any depth; a geometry of one part is its own part."""
    if hasattr(geometry, "geoms"):
        return [part for member in geometry.geoms for part in _list_parts(member)]
    return [geometry]


def _make_area(part: Any) -> Any:
    """Return a polygon or closed line as valid polygons; None for any other geometry."""
    if part.geom_type == "Polygon" and not part.is_empty:
        return part if part.is_valid else _keep_areas(shapely.make_valid(part, method="structure"))
    if part.geom_type in LINES and part.is_closed and len(part.coords) >= LEAST_VERTICES:
        return _keep_areas(shapely.make_valid(shapely.Polygon(part.coords), method="structure"))
    return None


def _keep_areas(geometry: Any) -> Any:
    """Return the polygons of a geometry; None if it has none."""
    polygons = [part for part in _list_parts(geometry) if part.geom_type == "Polygon" and not part.is_empty]
    return shapely.union_all(polygons) if polygons else None
