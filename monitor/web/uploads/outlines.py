"""Outlines that people bring as a GeoJSON file: features with their kind, before anybody believes their corners."""

import json
from typing import Any, Final

from monitor.errors import RefusedError

MOST_FEATURES: Final = 500
MOST_CORNERS: Final = 20_000  # of one file: each ring is tried for crossings
LONLAT: Final = ("CRS84", "EPSG::4326", "EPSG:4326")  # as GeoJSON of 2008 names longitude and latitude

Brought = tuple[str, dict[str, Any], str]
"""Kind, GeoJSON Polygon, note."""


def read_collection(content: bytes, kind: str) -> list[Brought]:
    """The outlines of a file: a FeatureCollection, a Feature or a geometry; parts of a MultiPolygon one by one.

    Args:
        content: the file.
        kind: of features that have no property `kind`.

    Raises:
        RefusedError: it is no GeoJSON of polygons, or too long.

    >>> read_collection(b'{"type": "Polygon", "coordinates": [[[8, 46], [9, 46], [9, 47]]]}', "nothing")
    [('nothing', {'type': 'Polygon', 'coordinates': [[[8, 46], [9, 46], [9, 47]]]}, '')]
    """
    try:
        said = json.loads(content)
        named = json.dumps(said.get("crs") if isinstance(said, dict) else None)
    except (ValueError, RecursionError):
        raise RefusedError("the file is no GeoJSON") from None
    if named != "null" and not any(word in named for word in LONLAT):
        raise RefusedError("the file names another system than longitude and latitude: bring it in WGS 84")
    features = said.get("features") if isinstance(said, dict) else None
    found: list[Brought] = []
    for number, one in enumerate(features if isinstance(features, list) else [said], 1):
        geometry = one.get("geometry", one) if isinstance(one, dict) else None
        facts = one.get("properties") if isinstance(one, dict) else None
        facts = facts if isinstance(facts, dict) else {}
        form = geometry.get("type") if isinstance(geometry, dict) else None
        parts = geometry.get("coordinates") if isinstance(geometry, dict) else None
        if form not in {"Polygon", "MultiPolygon"} or not isinstance(parts, list):
            raise RefusedError(f"feature {number}: expected a Polygon or MultiPolygon in longitude and latitude")
        own, note = facts.get("kind", kind), str(facts.get("note") or "").encode("utf-8", "replace").decode()
        every = parts if form == "MultiPolygon" else [parts]
        found += [(str(own)[:40], {"type": "Polygon", "coordinates": rings}, note) for rings in every]
    if not found:
        raise RefusedError("the file holds no outline")
    if len(found) > MOST_FEATURES:
        raise RefusedError(f"the file holds {len(found)} outlines; bring {MOST_FEATURES} at a time")
    corners = sum(len(g["coordinates"][0]) for _, g, _ in found if _has_ring(g["coordinates"]))
    if corners > MOST_CORNERS:
        raise RefusedError(f"the outlines have {corners} corners; bring {MOST_CORNERS} at a time")
    return found


def _has_ring(rings: Any) -> bool:
    return isinstance(rings, list) and bool(rings) and isinstance(rings[0], list)
