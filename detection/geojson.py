"""GeoJSON (RFC 7946) as plain data, longitude before latitude, and the one reader of what comes from outside.

Its rule: longitude and latitude, unless a member `crs` (of 2008) names another system; who cannot bring that there
refuses. It needs no library: the page reads outlines by it.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NotRequired, TypedDict

from detection.reasons import Reason, ReasonedError

NO_GEOJSON: Final = Reason("geojson.none")
_URN: Final = "urn:ogc:def:crs:"
_LONLAT: Final = (
    None,
    4326,
    "EPSG:4326",
    f"{_URN}EPSG::4326",
    "OGC:CRS84",
    f"{_URN}OGC:1.3:CRS84",
    f"{_URN}OGC::CRS84",
)


class Geometry(TypedDict):
    """One place or outline; how deep its coordinates nest is a matter of its type."""

    type: str
    coordinates: Any


class Feature(TypedDict):
    """A geometry, where there is one, and what is known of it."""

    type: str
    id: NotRequired[str | int]
    bbox: NotRequired[list[float]]
    geometry: Geometry | None
    properties: dict[str, Any]


class FeatureCollection(TypedDict):
    """Features as one object."""

    type: str
    features: Sequence[Feature]


class GeoJsonError(ReasonedError, ValueError):
    """The content is not GeoJSON, or its coordinates cannot be used; the explanation does not name the file."""


def parse_features(content: str | bytes) -> tuple[list[dict[str, Any]], Any]:
    """Features of a text, be it a collection, one feature or a bare geometry; each has a `geometry`, which may be any.

    Returns:
        Them, and how the text names the system of their coordinates; None: it does not.

    Raises:
        GeoJsonError: no GeoJSON.

    >>> parse_features('{"type": "Point", "coordinates": [8, 46]}')
    ([{'geometry': {'type': 'Point', 'coordinates': [8, 46]}}], None)
    """
    try:
        document = json.loads(content.removeprefix("\ufeff") if isinstance(content, str) else content)
        is_whole = document.get("type") == "FeatureCollection"
        features = document["features"] if is_whole else document.get("features", [document])
        named = document.get("crs")
        properties = named["properties"] if named else {}
        name = next((properties[key] for key in ("name", "code", "href") if key in properties), named or None)
        return [
            {**one, "geometry": one.get("geometry")}
            if "geometry" in one or one["type"] == "Feature"
            else {"geometry": one}
            for one in features
        ], name
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise GeoJsonError(NO_GEOJSON) from None


def is_lonlat(name: object) -> bool:
    """Whether coordinates of a system of that name are longitude and latitude as they stand."""
    return name in _LONLAT
