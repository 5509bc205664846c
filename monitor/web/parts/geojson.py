"""Answers of maps: GeoJSON under its own type (RFC 7946), in the answer and in what OpenAPI says of it."""

from typing import Final

from fastapi.responses import JSONResponse

GEOJSON: Final = "application/geo+json"


class GeoJsonResponse(JSONResponse):
    """A GeoJSON object."""

    media_type = GEOJSON
