"""GeoJSON (RFC 7946) as plain data, longitude before latitude."""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict


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
