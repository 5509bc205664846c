"""Outlines that people bring as a GeoJSON file: features with their kind, before anybody believes their corners."""

import json
from typing import Any, Final

from forecasting.message import Figure, Template
from monitor.errors import RefusedError

MOST_FEATURES: Final = 500
MOST_CORNERS: Final = 20_000  # of one file: each ring is tried for crossings
LONLAT: Final = ("CRS84", "EPSG::4326", "EPSG:4326")  # as GeoJSON of 2008 names longitude and latitude

_OTHER_SYSTEM: Final = Template(
    "outlines.system", "the file names another system than longitude and latitude: bring it in WGS 84"
)
_NO_GEOJSON: Final = Template("outlines.json", "the file is no GeoJSON")
_NONE: Final = Template("outlines.none", "the file holds no outline")
_NO_POLYGON: Final = Template(
    "outlines.polygon", "feature {n}: expected a Polygon or MultiPolygon in longitude and latitude"
)
_MANY: Final = Template("outlines.many", "the file holds {n} outlines; bring {most} at a time")
_LONG: Final = Template("outlines.corners", "the outlines have {n} corners; bring {most} at a time")

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
        raise RefusedError(_NO_GEOJSON()) from None
    if named != "null" and not any(word in named for word in LONLAT):
        raise RefusedError(_OTHER_SYSTEM())
    features = said.get("features") if isinstance(said, dict) else None
    found: list[Brought] = []
    for number, one in enumerate(features if isinstance(features, list) else [said], 1):
        geometry = one.get("geometry", one) if isinstance(one, dict) else None
        facts = one.get("properties") if isinstance(one, dict) else None
        facts = facts if isinstance(facts, dict) else {}
        form = geometry.get("type") if isinstance(geometry, dict) else None
        parts = geometry.get("coordinates") if isinstance(geometry, dict) else None
        if form not in {"Polygon", "MultiPolygon"} or not isinstance(parts, list):
            raise RefusedError(_NO_POLYGON(n=Figure(number, "d")))
        own, note = facts.get("kind", kind), str(facts.get("note") or "").encode("utf-8", "replace").decode()
        every = parts if form == "MultiPolygon" else [parts]
        found += [(str(own)[:40], {"type": "Polygon", "coordinates": rings}, note) for rings in every]
    if not found:
        raise RefusedError(_NONE())
    if len(found) > MOST_FEATURES:
        raise RefusedError(_MANY(n=Figure(len(found), "d"), most=MOST_FEATURES))
    corners = sum(len(g["coordinates"][0]) for _, g, _ in found if _has_ring(g["coordinates"]))
    if corners > MOST_CORNERS:
        raise RefusedError(_LONG(n=Figure(corners, "d"), most=Figure(MOST_CORNERS, "d")))
    return found


def _has_ring(rings: Any) -> bool:
    return isinstance(rings, list) and bool(rings) and isinstance(rings[0], list)
