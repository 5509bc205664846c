"""Places that a scene is asked about, and boxes and windows; no library is loaded for them."""

from dataclasses import dataclass
from typing import Any

Box = tuple[float, float, float, float]  # least longitude and latitude, greatest longitude and latitude
Window = tuple[int, int, int, int]  # column, row, width, height


@dataclass(frozen=True, slots=True)
class Circle:
    """Ground around a point."""

    lon: float
    lat: float
    radius_m: float


@dataclass(frozen=True, slots=True)
class Place:
    """Ground that is measured: a circle, or an outline as GeoJSON."""

    name: str
    ground: Circle | dict[str, Any]
