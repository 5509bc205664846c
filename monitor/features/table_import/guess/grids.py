"""National and UTM grids around a site, to notice that easting and northing are exchanged."""

from contextlib import suppress
from functools import lru_cache
from math import hypot, isfinite
from typing import Final, NamedTuple

# Coordinates belong to a grid if they are nearer than this to the position of the site in it. People give the position
# of a slope to a tenth of a degree at best.
NEAR_M: Final = 20_000.0
# Half the side of the area, in degrees, that a grid has to contain.
_AREA_DEG: Final = 0.01

Place = tuple[float, float]
"""Latitude and longitude in degrees."""


class GridPlace(NamedTuple):
    """The position of a site in a grid."""

    grid: str
    east_m: float
    north_m: float


def parse_place(text: str) -> Place | None:
    """Return latitude and longitude in degrees; None if a text has another form.

    >>> parse_place("46.2, 8.9"), parse_place("Berne")
    ((46.2, 8.9), None)
    """
    with suppress(ValueError):
        latitude, longitude = (float(part) for part in text.split(","))
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            return latitude, longitude
    return None


def find_exchanged_grid(place: Place, east_m: float, north_m: float) -> str | None:
    """Return the grid in which coordinates lie near a site only if easting and northing are exchanged.

    None if they lie near the site as they are, or in no grid.

    >>> find_exchanged_grid((46.95, 7.45), 1_200_300.0, 2_600_100.0)
    'CH1903+ / LV95'
    >>> find_exchanged_grid((46.95, 7.45), 2_600_100.0, 1_200_300.0), find_exchanged_grid((46.95, 7.45), 400.0, 90.0)
    (None, None)
    """
    places = _list_grid_places(place)
    if any(hypot(one.east_m - east_m, one.north_m - north_m) <= NEAR_M for one in places):
        return None
    exchanged = [(hypot(one.east_m - north_m, one.north_m - east_m), one.grid) for one in places]
    distance_m, grid = min(exchanged, default=(NEAR_M + 1.0, ""))
    return grid if distance_m <= NEAR_M else None


@lru_cache(maxsize=16)
def _list_grid_places(place: Place) -> tuple[GridPlace, ...]:
    """Return the position of a site in each projected grid in metres that contains it."""
    # Imported here because few tables have coordinates of a grid, and the import takes a while.
    from pyproj import CRS, Transformer
    from pyproj.aoi import AreaOfInterest
    from pyproj.database import query_crs_info
    from pyproj.enums import PJType
    from pyproj.exceptions import CRSError, ProjError

    latitude, longitude = place
    area = AreaOfInterest(longitude - _AREA_DEG, latitude - _AREA_DEG, longitude + _AREA_DEG, latitude + _AREA_DEG)
    found = []
    for info in query_crs_info(auth_name="EPSG", pj_types=[PJType.PROJECTED_CRS], area_of_interest=area, contains=True):
        with suppress(CRSError, ProjError):
            crs = CRS.from_epsg(int(info.code))
            if crs.axis_info[0].unit_name != "metre":
                continue
            # `always_xy`: easting first, whatever the official order of the axes is.
            east_m, north_m = Transformer.from_crs(4326, crs, always_xy=True).transform(longitude, latitude)
            if isfinite(east_m) and isfinite(north_m):
                found.append(GridPlace(info.name, east_m, north_m))
    return tuple(found)
