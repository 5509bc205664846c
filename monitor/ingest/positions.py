"""Positions of receivers: from GPS time to UTC, and from places on the earth to displacement since an origin."""

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.sites.records import Origin

_AXIS_M: Final = 6_378_137.0  # WGS84
_FLATTENING: Final = 1 / 298.257223563
# the day from which GPS time was that many seconds ahead of UTC; none was announced after the last (IERS, Bulletin C)
_LEAP_MONTHS: Final = (
    *(198001, 198107, 198207, 198307, 198507, 198801, 199001, 199101, 199207, 199307),
    *(199407, 199601, 199707, 199901, 200601, 200901, 201207, 201507, 201701),
)
_LEAPS: Final = tuple(
    (datetime(month // 100, month % 100, 1, tzinfo=UTC), timedelta(seconds=count))
    for count, month in reversed([*enumerate(_LEAP_MONTHS)])
)

Vector = tuple[float, float, float]


def gps_to_utc(at: datetime) -> datetime:
    """UTC of an instant that counts in GPS time.

    >>> gps_to_utc(datetime(2026, 3, 1, 6, 0, 18, tzinfo=UTC)).isoformat()
    '2026-03-01T06:00:00+00:00'
    >>> gps_to_utc(datetime(2009, 7, 15, 7, 10, tzinfo=UTC)).isoformat()
    '2009-07-15T07:09:45+00:00'
    """
    for since, ahead in _LEAPS:
        if at - ahead >= since:
            return at - ahead
    return at


def find_enu_mm(origin: Origin, latitude: float, longitude: float, height_m: float) -> Vector:
    """Displacement towards east, north and up of a place, mm.

    Degrees are of WGS84, heights above the ellipsoid.

    >>> here = Origin(datetime(2026, 1, 1, tzinfo=UTC), (46.0, 9.0, 1000.0))
    >>> [round(v, 3) + 0.0 for v in find_enu_mm(here, 46.0, 9.0, 1000.5)]
    [0.0, 0.0, 500.0]

    Raises:
        ValueError: the origin has no place on the earth.
    """
    if origin.place is None:
        raise ValueError("the origin is no place on the earth")
    there, here = _to_ecef(latitude, longitude, height_m), _to_ecef(*origin.place)
    x, y, z = (1000.0 * (a - b) for a, b in zip(there, here, strict=True))
    lat, lon = math.radians(origin.place[0]), math.radians(origin.place[1])
    across = math.cos(lon) * x + math.sin(lon) * y
    return (
        -math.sin(lon) * x + math.cos(lon) * y,
        -math.sin(lat) * across + math.cos(lat) * z,
        math.cos(lat) * across + math.sin(lat) * z,
    )


def _to_ecef(latitude: float, longitude: float, height_m: float) -> Vector:
    lat, lon = math.radians(latitude), math.radians(longitude)
    eccentricity2 = _FLATTENING * (2 - _FLATTENING)
    radius = _AXIS_M / math.sqrt(1 - eccentricity2 * math.sin(lat) ** 2)
    return (
        (radius + height_m) * math.cos(lat) * math.cos(lon),
        (radius + height_m) * math.cos(lat) * math.sin(lon),
        (radius * (1 - eccentricity2) + height_m) * math.sin(lat),
    )
