"""HTTP responses in GeoJSON."""

from collections.abc import Iterable
from typing import Final

from fastapi.responses import JSONResponse

from detection.geojson import Feature, FeatureCollection

GEOJSON: Final = "application/geo+json"


class GeoJsonResponse(JSONResponse):
    """A response with a GeoJSON object."""

    media_type = GEOJSON


def make_collection(features: Iterable[Feature]) -> FeatureCollection:
    """Return features as one GeoJSON object."""
    return {"type": "FeatureCollection", "features": [*features]}
