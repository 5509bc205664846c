"""Answers of maps: GeoJSON under its own type (RFC 7946), in the answer and in what OpenAPI says of it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi.responses import JSONResponse

GEOJSON: Final = "application/geo+json"


class GeoJsonResponse(JSONResponse):
    """A GeoJSON object."""

    media_type = GEOJSON


def make_collection(features: Iterable[Mapping[str, Any]], **about: Any) -> dict[str, Any]:
    """Features as one object, with what else is said of them all."""
    return {"type": "FeatureCollection", **about, "features": [*features]}


def make_feature(kind: str, corners: Any, properties: Mapping[str, Any], name: object = None) -> dict[str, Any]:
    """One feature of a kind of geometry; one without a name bears no `id`."""
    head = {"type": "Feature"} if name is None else {"type": "Feature", "id": name}
    return {**head, "geometry": {"type": kind, "coordinates": corners}, "properties": properties}
