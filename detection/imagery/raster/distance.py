"""Measure the distance on the ground between an image and the places of a site."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyproj
import shapely

from detection.imagery.raster.grid import LONLAT, Grid

Place = tuple[float, float]
"""Longitude and latitude, degrees."""

# Straight sides of a scene are curves in longitude and latitude, so each is drawn with several points.
_POINTS_PER_SIDE: Final = 16
# An image that reaches farther than this from its centre is a map of a continent, and counts as covering every site.
_LARGEST_RADIUS_M: Final = 5_000_000.0


def list_border(grid: Grid) -> tuple[Place, ...]:
    """Return longitude and latitude of points along the border of a grid; the first point is not repeated at the end.

    Points that the system of the grid cannot transform to longitude and latitude are left out.
    """
    share = np.arange(_POINTS_PER_SIDE) / _POINTS_PER_SIDE
    zero, one = np.zeros_like(share), np.ones_like(share)
    columns = np.concatenate([share, one, 1 - share, zero]) * grid.width
    rows = np.concatenate([zero, share, one, 1 - share]) * grid.height
    lon, lat = grid.to_lonlat(*grid.to_crs(columns, rows))
    is_on_globe = np.isfinite(lon) & np.isfinite(lat)
    return tuple(zip(lon[is_on_globe].tolist(), lat[is_on_globe].tolist(), strict=True))


def measure_distance_m(border: Sequence[Place], places: Sequence[Place]) -> float:
    """Return the least distance in metres between the ground inside a border and the convex hull of places.

    Both are projected to a plane around the first point of the border (azimuthal equidistant, WGS 84), which works
    across the antimeridian and at a pole. The distance is 0 if they overlap, or if the image shows a continent.

    >>> around_fiji = [(179.9, -17.0), (-179.9, -17.0), (-179.9, -17.2), (179.9, -17.2)]
    >>> measure_distance_m(around_fiji, [(-179.95, -17.1)]), round(measure_distance_m(around_fiji, [(178.9, -17.1)]))
    (0.0, 106429)
    """
    longitude, latitude = border[0]
    plane = pyproj.CRS.from_dict({"proj": "aeqd", "lon_0": longitude, "lat_0": latitude, "datum": "WGS84"})
    to_plane = pyproj.Transformer.from_crs(LONLAT, plane, always_xy=True)
    outline = np.column_stack(to_plane.transform(*np.transpose(border)))
    points = np.column_stack(to_plane.transform(*np.transpose(places)))
    if np.ptp(outline, axis=0).max() > 2 * _LARGEST_RADIUS_M:
        return 0.0
    ground = shapely.make_valid(shapely.Polygon(outline))
    return float(shapely.distance(ground, shapely.MultiPoint(points).convex_hull))
