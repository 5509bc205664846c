"""Lines of landslides over the versions of one scene: an outline found again keeps the name of its first footprint."""

from collections.abc import Iterable, Mapping
from typing import Any

from shapely.geometry import shape as shape_of

# An outline of a scene delivered again is that of the version before where they share so much of the smaller one.
SAME_SHARE = 0.5


def keep_lines(
    polygons: Iterable[Mapping[str, Any]], changes: Mapping[str, dict[str, Any]], before: Iterable[Mapping[str, Any]]
) -> None:
    """Give outlines without a parent the root of the outline that they replace; `changes` is altered in place.

    Args:
        polygons: footprints of the version that counts now.
        changes: what was judged of them, by polygon_id.
        before: footprints of the versions that are withdrawn, with root_id and first_seen_at where known.

    >>> square = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]]}
    >>> changes = {"n": {"parent_id": None, "root_id": "n", "first_seen_at": "2026-05-12T10:00:00+00:00"}}
    >>> old = {"polygon_id": "o", "geometry": square, "root_id": "r", "first_seen_at": None}
    >>> keep_lines([{"polygon_id": "n", "geometry": square}], changes, [old])
    >>> changes["n"]["root_id"]
    'r'
    """
    known = [
        (shape_of(p["geometry"]), p) for p in before if p.get("change") not in {"vanished", "withdrawn"}
    ]  # fmt: skip
    for polygon in polygons:
        word = changes[polygon["polygon_id"]]
        if word["parent_id"] is not None or not known:
            continue
        outline = shape_of(polygon["geometry"])
        kind = polygon.get("class")
        found = [
            (outline.intersection(other).area / min(outline.area, other.area), str(p["polygon_id"]), p)
            for other, p in known
            if other.area and outline.area and p.get("class") == kind
        ]
        share, _, one = max(found, key=lambda item: item[:2], default=(0.0, "", {}))
        if share >= SAME_SHARE:
            word["root_id"] = one.get("root_id") or one["polygon_id"]
            word["first_seen_at"] = one.get("first_seen_at") or word["first_seen_at"]
