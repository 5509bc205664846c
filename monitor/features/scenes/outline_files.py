"""Read outlines from GeoJSON text: one or more polygons, each with a kind and a note."""

from typing import Any, Final

from detection.geojson import GeoJsonError, Geometry, is_lonlat, parse_features
from monitor.api.errors import RefusedError
from monitor.api.text import Figure, Template, describe_error
from monitor.features.scenes.queries.outlines import LANDSLIDE, read_ring

MAX_FEATURES: Final = 500
# Corners of all outlines of a file. The bound limits the time of the search for crossings.
MAX_CORNERS: Final = 20_000
_EARTH: Final = (-180.0, -90.0, 180.0, 90.0)
_NONE: Final = Template("outlines.none", "the file contains no outline")
_NO_POLYGON: Final = Template("outlines.polygon", "feature {n}: expected a Polygon or MultiPolygon")
_MANY: Final = Template("outlines.many", "the file contains {n} outlines; import at most {most} at a time")
_LONG: Final = Template("outlines.corners", "the outlines have {n} corners; import at most {most} at a time")

OutlineOfFile = tuple[str, Geometry, str]
"""Kind, GeoJSON Polygon, note."""


def read_geometry(text: str) -> Geometry:
    """Return the outline of a landslide, in one or several parts.

    Raises:
        RefusedError: The text is no such outline.
    """
    rings = [[read_ring(polygon, _EARTH)] for _, polygon, _ in read_collection(text, LANDSLIDE)]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def read_collection(content: str, kind: str) -> list[OutlineOfFile]:
    """Return the outlines of a GeoJSON text. Each part of a MultiPolygon is an outline.

    Args:
        content: A FeatureCollection, a Feature or a geometry.
        kind: Kind of features without a property `kind`.

    Raises:
        RefusedError: The text is no GeoJSON of polygons, or it has too many outlines or corners.

    >>> read_collection('{"type": "Polygon", "coordinates": [[[8, 46], [9, 46], [9, 47]]]}', "nothing")
    [('nothing', {'type': 'Polygon', 'coordinates': [[[8, 46], [9, 46], [9, 47]]]}, '')]
    """
    try:
        features, system = parse_features(content)
        outlines: list[OutlineOfFile] = []
        for number, feature in enumerate(features, 1):
            outlines += _read_feature(number, feature, kind)
        if not is_lonlat(system):
            # The page imports the libraries for coordinate systems only when a file needs them.
            from detection.imagery.raster.geojson import place_geometries

            placed = place_geometries([polygon for _, polygon, _ in outlines], system)
            outlines = [(name, polygon, note) for (name, _, note), polygon in zip(outlines, placed, strict=True)]
    except GeoJsonError as error:
        raise RefusedError(describe_error(error)) from None
    if not outlines:
        raise RefusedError(_NONE())
    if len(outlines) > MAX_FEATURES:
        raise RefusedError(_MANY(n=Figure(len(outlines), "d"), most=MAX_FEATURES))
    corners = sum(_count_corners(polygon["coordinates"]) for _, polygon, _ in outlines)
    if corners > MAX_CORNERS:
        raise RefusedError(_LONG(n=Figure(corners, "d"), most=Figure(MAX_CORNERS, "d")))
    return outlines


def _count_corners(rings: Any) -> int:
    """Return the number of corners of an outer ring; 0 if the coordinates are not valid, which `read_ring` refuses."""
    is_valid = isinstance(rings, list) and rings and isinstance(rings[0], list)
    return len(rings[0]) if is_valid else 0


def _read_feature(number: int, feature: dict[str, Any], kind: str) -> list[OutlineOfFile]:
    """Return the polygons of one feature or geometry."""
    geometry, facts = (part if isinstance(part, dict) else {} for part in map(feature.get, ("geometry", "properties")))
    form, parts = geometry.get("type"), geometry.get("coordinates")
    if form not in {"Polygon", "MultiPolygon"} or not isinstance(parts, list):
        raise RefusedError(_NO_POLYGON(n=Figure(number, "d")))
    kind_of_feature = str(facts.get("kind") or kind)[:40]
    note = str(facts.get("note") or "").encode("utf-8", "replace").decode()
    polygons = parts if form == "MultiPolygon" else [parts]
    return [(kind_of_feature, {"type": "Polygon", "coordinates": rings}, note) for rings in polygons]
