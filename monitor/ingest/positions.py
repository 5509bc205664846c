"""Conversion of GPS time to UTC, and of positions on Earth to displacement since an origin."""

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.sites.records import Origin

# Semi-major axis and flattening of the ellipsoid of WGS84.
_AXIS_M: Final = 6_378_137.0
_FLATTENING: Final = 1 / 298.257223563
# Months at whose beginning GPS time gained a second on UTC. The first one has no difference. No leap second was
# announced after the last one (IERS, Bulletin C).
_LEAP_MONTHS: Final = (
    *(198001, 198107, 198207, 198307, 198507, 198801, 199001, 199101, 199207, 199307),
    *(199407, 199601, 199707, 199901, 200601, 200901, 201207, 201507, 201701),
)
# Start of each difference between GPS time and UTC, newest first.
_LEAPS: Final = tuple(
    (datetime(month // 100, month % 100, 1, tzinfo=UTC), timedelta(seconds=count))
    for count, month in reversed([*enumerate(_LEAP_MONTHS)])
)

Vector = tuple[float, float, float]


def gps_to_utc(at: datetime) -> datetime:
    """Convert an instant in GPS time to UTC.

    >>> gps_to_utc(datetime(2026, 3, 1, 6, 0, 18, tzinfo=UTC)).isoformat()
    '2026-03-01T06:00:00+00:00'
    >>> gps_to_utc(datetime(2009, 7, 15, 7, 10, tzinfo=UTC)).isoformat()
    '2009-07-15T07:09:45+00:00'
    """
    for since, difference in _LEAPS:
        if at - difference >= since:
            return at - difference
    return at


def find_enu_mm(origin: Origin, latitude: float, longitude: float, height_m: float) -> Vector:
    """Return the displacement of a position since an origin, towards east, north and up, in mm.

    Degrees are those of WGS84. Heights are above the same surface as that of the origin.

    >>> here = Origin(datetime(2026, 1, 1, tzinfo=UTC), (46.0, 9.0, 1000.0))
    >>> [round(v, 3) + 0.0 for v in find_enu_mm(here, 46.0, 9.0, 1000.5)]
    [0.0, 0.0, 500.0]

    Raises:
        ValueError: the origin is no position on Earth.
    """
    if origin.place is None:
        raise ValueError("the origin is no position on Earth")
    position = _to_ecef(latitude, longitude, height_m)
    zero = _to_ecef(*origin.place)
    x, y, z = (1000.0 * (a - b) for a, b in zip(position, zero, strict=True))
    lat = math.radians(origin.place[0])
    lon = math.radians(origin.place[1])
    across = math.cos(lon) * x + math.sin(lon) * y
    return (
        -math.sin(lon) * x + math.cos(lon) * y,
        -math.sin(lat) * across + math.cos(lat) * z,
        math.cos(lat) * across + math.sin(lat) * z,
    )


def _to_ecef(latitude: float, longitude: float, height_m: float) -> Vector:
    """Convert a position to Cartesian coordinates from the centre of the Earth, in metres."""
    lat = math.radians(latitude)
    lon = math.radians(longitude)
    eccentricity2 = _FLATTENING * (2 - _FLATTENING)
    radius = _AXIS_M / math.sqrt(1 - eccentricity2 * math.sin(lat) ** 2)
    return (
        (radius + height_m) * math.cos(lat) * math.cos(lon),
        (radius + height_m) * math.cos(lat) * math.sin(lon),
        (radius * (1 - eccentricity2) + height_m) * math.sin(lat),
    )
