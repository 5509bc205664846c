"""Answers in GeoJSON."""

from collections.abc import Iterable
from typing import Final

from fastapi.responses import JSONResponse

from detection.geojson import Feature, FeatureCollection

GEOJSON: Final = "application/geo+json"


class GeoJsonResponse(JSONResponse):
    """A GeoJSON object."""

    media_type = GEOJSON


def make_collection(features: Iterable[Feature]) -> FeatureCollection:
    """Features as one object."""
    return {"type": "FeatureCollection", "features": [*features]}
