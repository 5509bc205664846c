"""Read outlines from GeoJSON text: one or more polygons, each with a kind and a note."""

from typing import Any, Final

from detection.geojson import GeoJsonError, Geometry, is_lonlat, parse_features
from monitor.api.errors import RefusedError
from monitor.api.text import Figure, Template, describe_error
from monitor.features.scenes.queries.outlines import LANDSLIDE, read_ring

MOST_FEATURES: Final = 500
MOST_CORNERS: Final = 20_000  # of one file: each ring is tried for crossings
_EARTH: Final = (-180.0, -90.0, 180.0, 90.0)
_NONE: Final = Template("outlines.none", "the file holds no outline")
_NO_POLYGON: Final = Template("outlines.polygon", "feature {n}: expected a Polygon or MultiPolygon")
_MANY: Final = Template("outlines.many", "the file holds {n} outlines; bring {most} at a time")
_LONG: Final = Template("outlines.corners", "the outlines have {n} corners; bring {most} at a time")

Brought = tuple[str, Geometry, str]
"""Kind, GeoJSON Polygon, note."""


def read_geometry(text: str) -> Geometry:
    """Return the outline of a landslide, in one or several parts (RefusedError: the text is no such outline)."""
    rings = [[read_ring(polygon, _EARTH)] for _, polygon, _ in read_collection(text, LANDSLIDE)]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def read_collection(content: str, kind: str) -> list[Brought]:
    """The outlines of a file: a FeatureCollection, a Feature or a geometry; parts of a MultiPolygon one by one.

    `kind`: of features that have no property `kind`. Raises RefusedError: it is no GeoJSON of polygons, or too long.

    >>> read_collection('{"type": "Polygon", "coordinates": [[[8, 46], [9, 46], [9, 47]]]}', "nothing")
    [('nothing', {'type': 'Polygon', 'coordinates': [[[8, 46], [9, 46], [9, 47]]]}, '')]
    """
    try:
        features, system = parse_features(content)
        found = [brought for number, one in enumerate(features, 1) for brought in _read_feature(number, one, kind)]
        if not is_lonlat(system):
            from detection.imagery.raster.geojson import place_geometries  # the page has no use for its libraries else

            placed = place_geometries([polygon for _, polygon, _ in found], system)
            found = [(own, polygon, note) for (own, _, note), polygon in zip(found, placed, strict=True)]
    except GeoJsonError as error:
        raise RefusedError(describe_error(error)) from None
    if not found:
        raise RefusedError(_NONE())
    if len(found) > MOST_FEATURES:
        raise RefusedError(_MANY(n=Figure(len(found), "d"), most=MOST_FEATURES))
    every = (g["coordinates"] for _, g, _ in found)
    corners = sum(len(rings[0]) for rings in every if isinstance(rings, list) and rings and isinstance(rings[0], list))
    if corners > MOST_CORNERS:
        raise RefusedError(_LONG(n=Figure(corners, "d"), most=Figure(MOST_CORNERS, "d")))
    return found


def _read_feature(number: int, feature: dict[str, Any], kind: str) -> list[Brought]:
    """The polygons of one feature or geometry."""
    geometry, facts = (part if isinstance(part, dict) else {} for part in map(feature.get, ("geometry", "properties")))
    form, parts = geometry.get("type"), geometry.get("coordinates")
    if form not in {"Polygon", "MultiPolygon"} or not isinstance(parts, list):
        raise RefusedError(_NO_POLYGON(n=Figure(number, "d")))
    own, note = facts.get("kind") or kind, str(facts.get("note") or "").encode("utf-8", "replace").decode()
    every = parts if form == "MultiPolygon" else [parts]
    return [(str(own)[:40], {"type": "Polygon", "coordinates": rings}, note) for rings in every]
