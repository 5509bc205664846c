"""Distance on the ground between an image and the places of a site."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyproj
import shapely

from detection.imagery.raster.grid import LONLAT, Grid

Place = tuple[float, float]
"""Longitude and latitude, degrees."""

# Sides of a scene are bent on the ground: each is drawn with so many points.
_POINTS_PER_SIDE: Final = 16
# An image that reaches this far from its centre is a map of a continent. It covers every site.
_LARGEST_M: Final = 5_000_000.0


def list_corners(grid: Grid) -> tuple[Place, ...]:
    """Return longitude and latitude of points along the border of a grid, without the first one at the end.

    Points that the system of the grid cannot bring to the globe are left out.
    """
    share = np.arange(_POINTS_PER_SIDE) / _POINTS_PER_SIDE
    zero, one = np.zeros_like(share), np.ones_like(share)
    columns = np.concatenate([share, one, 1 - share, zero]) * grid.width
    rows = np.concatenate([zero, share, one, 1 - share]) * grid.height
    lon, lat = grid.to_lonlat(*grid.to_crs(columns, rows))
    good = np.isfinite(lon) & np.isfinite(lat)
    return tuple(zip(lon[good].tolist(), lat[good].tolist(), strict=True))


def measure_distance_m(border: Sequence[Place], places: Sequence[Place]) -> float:
    """Return the least distance in metres between the ground inside a border and the convex hull of places.

    Both are drawn on a plane around the first corner on which distances from it are true (azimuthal equidistant, WGS
    84), so that neither the antimeridian nor a pole matters. 0 where they overlap, and for an image of a continent.

    >>> around_fiji = [(179.9, -17.0), (-179.9, -17.0), (-179.9, -17.2), (179.9, -17.2)]
    >>> measure_distance_m(around_fiji, [(-179.95, -17.1)]), round(measure_distance_m(around_fiji, [(178.9, -17.1)]))
    (0.0, 106438)
    """
    longitude, latitude = border[0]
    plane = pyproj.CRS.from_dict({"proj": "aeqd", "lon_0": longitude, "lat_0": latitude, "datum": "WGS84"})
    to_plane = pyproj.Transformer.from_crs(LONLAT, plane, always_xy=True)
    outline = np.column_stack(to_plane.transform(*np.transpose(border)))
    points = np.column_stack(to_plane.transform(*np.transpose(places)))
    if np.ptp(outline, axis=0).max() > 2 * _LARGEST_M:
        return 0.0
    ground = shapely.make_valid(shapely.Polygon(outline))
    return float(shapely.distance(ground, shapely.MultiPoint(points).convex_hull))
