"""Measure areas, perimeters and bounding rectangles of outlines on the ground, on any grid, and slopes of heights."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from detection.imagery.raster.grid import Grid

# Areas are planar in a projected CRS whose relative error of areas is at most this, such as UTM within its zone.
# Otherwise (another zone, Web Mercator, feet) they are geodesic.
AREA_TOLERANCE = 0.002
GEOD = pyproj.Geod(ellps="WGS84")
# WGS 84: equatorial radius, and the square of the first eccentricity.
EQUATOR_M = 6_378_137.0
ECCENTRICITY_2 = 0.00669437999014

Outlines = NDArray[np.object_]
"""One-dimensional array of shapely geometries."""
OneOrMany = TypeVar("OneOrMany", BaseGeometry, Outlines)
MapXy = Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]


def map_outline(outline: OneOrMany, function: MapXy) -> OneOrMany:
    """Return one or many outlines, with `function` applied to the arrays of their x and y."""
    mapped: OneOrMany = shapely.transform(outline, function, interleaved=False)  # type: ignore[arg-type]
    return mapped


def pixel_area_m2(grid: Grid) -> float:
    """Return the true area of the pixel at the grid's centre, m²; nan for a grid without a place."""
    return true_area_m2(map_outline(draw_pixel(grid.width / 2, grid.height / 2), grid.to_crs), grid)


def geodesic_pixel_m2(grid: Grid) -> float:
    """Return the geodesic area of the pixel at the grid's centre, m²."""
    return _measure_geodesic(map_outline(draw_pixel(grid.width / 2, grid.height / 2), grid.to_crs), grid)[0]


def true_area_m2(outline: BaseGeometry, grid: Grid) -> float:
    """Return the area on the ground of an outline in the grid's CRS, m²; nan for a grid without a place.

    The area is planar in a projected CRS whose areas are true within 0.2 % over the grid. Otherwise it is the geodesic
    area on WGS 84 (Karney 2013) of the outline, densified to steps of at most a pixel.
    """
    return float(measure_ground(np.array([outline]), grid)[0][0])


def measure_ground(outlines: Outlines, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return areas (m²) and perimeters (m) on the ground of outlines in the grid's CRS; see `true_area_m2`."""
    if grid.placed and _is_true_to_area(grid):
        return shapely.area(outlines), shapely.length(outlines)
    unknown = float("nan"), float("nan")
    measures = [_measure_geodesic(outline, grid) if grid.placed else unknown for outline in outlines]
    areas, perimeters = np.array(measures, np.float64).reshape(-1, 2).T
    return areas, perimeters


@lru_cache(maxsize=64)
def _is_true_to_area(grid: Grid) -> bool:
    return grid.crs.is_projected and abs(area_error(grid)) <= AREA_TOLERANCE


@lru_cache(maxsize=64)
def area_error(grid: Grid) -> float:
    """Return the relative error of planar areas of the grid's CRS at the centre or the corner where it is largest.

    Positive if planar areas are too large; 0 for a grid in degrees.
    """
    if not grid.placed or not grid.crs.is_projected:
        return 0.0
    places = [(x * grid.width, y * grid.height) for x, y in ((0.5, 0.5), (0, 0), (1, 0), (1, 1), (0, 1))]
    planar = abs(grid.transform.determinant)
    pixels = (map_outline(draw_pixel(*place), grid.to_crs) for place in places)
    return max((planar / _measure_geodesic(pixel, grid)[0] - 1 for pixel in pixels), key=abs)


def resample_grid(grid: Grid, pixel_m: float) -> Grid:
    """Return a grid over the same ground, from the same corner, whose pixels have sides of `pixel_m` metres.

    Pixels in degrees, or in a projection with wrong areas there, are measured geodesically at the centre.
    """
    a, b, c, d, e, f = grid.transform[:6]
    wide, high = pixel_sides_m(grid)
    right, down = pixel_m / wide, pixel_m / high
    # The small number keeps rounding errors from adding a pixel: 96 pixels of 5 m are 48 pixels of 10 m.
    width, height = (max(1, int(np.ceil(side - 1e-6))) for side in (grid.width / right, grid.height / down))
    return Grid(Affine(a * right, b * down, c, d * right, e * down, f), grid.crs_wkt, width, height)


def pixel_sides_m(grid: Grid) -> tuple[float, float]:
    """Return width and height on the ground of the pixel at the grid's centre, m; see `resample_grid`."""
    a, b, _, d, e, _ = grid.transform[:6]
    if _is_true_to_area(grid):
        return float(np.hypot(a, d)), float(np.hypot(b, e))
    columns, rows = np.array([0.0, 1.0, 0.0]) + grid.width / 2, np.array([0.0, 0.0, 1.0]) + grid.height / 2
    lon, lat = grid.to_lonlat(*grid.to_crs(columns, rows))
    wide, high = (float(side) for side in GEOD.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])[2])
    return wide, high


def draw_pixel(column: float, row: float) -> BaseGeometry:
    """Return the outline of the pixel-sized square around a place, in (column, row)."""
    square: BaseGeometry = shapely.box(column - 0.5, row - 0.5, column + 0.5, row + 0.5)
    return square


def _measure_geodesic(outline: BaseGeometry, grid: Grid) -> tuple[float, float]:
    step = float(np.sqrt(abs(grid.transform.determinant)))
    dense = unwrap_longitudes(map_outline(shapely.segmentize(outline, step), grid.to_lonlat))
    area = perimeter = 0.0
    for part in shapely.get_parts(dense):
        part_area, part_perimeter = GEOD.geometry_area_perimeter(orient(part))
        area, perimeter = area + float(part_area), perimeter + float(part_perimeter)
    return area, perimeter


def unwrap_longitudes(lonlat: BaseGeometry) -> BaseGeometry:
    """Return an outline in longitude and latitude without a jump at 180 degrees: its longitudes continue beyond 180.

    >>> unwrap_longitudes(shapely.LineString([(179.5, 0), (-179.5, 0)])).bounds
    (179.5, 0.0, 180.5, 0.0)
    """
    left, _, right, _ = lonlat.bounds
    if right - left <= 180:
        return lonlat
    start = float(shapely.get_coordinates(lonlat)[0, 0])
    return map_outline(lonlat, lambda x, y: (start + (x - start + 180) % 360 - 180, y))


def to_local_metres(outlines: Outlines) -> Outlines:
    """Transform outlines in longitude and latitude, each to metres east and north of its centre.

    The metres follow from the radii of curvature of the ellipsoid. Their error is about 0.1 % for an outline of 10 km.
    """
    lonlat, owners = shapely.get_coordinates(outlines, return_index=True)
    left, bottom, right, top = shapely.bounds(outlines).T
    lon, lat = (left + right) / 2, (bottom + top) / 2
    sine = np.sin(np.radians(lat))
    curvature = 1 - ECCENTRICITY_2 * sine**2
    north = EQUATOR_M * (1 - ECCENTRICITY_2) / curvature**1.5
    east = EQUATOR_M / np.sqrt(curvature) * np.cos(np.radians(lat))
    metres = np.radians(lonlat - np.stack([lon, lat], axis=1)[owners]) * np.stack([east, north], axis=1)[owners]
    return np.asarray(shapely.set_coordinates(outlines.copy(), metres))


def measure_rectangles(outlines: Outlines) -> list[tuple[float, float, float]]:
    """Return length (m), width (m) and azimuth (0 to 180 degrees) of the smallest rectangle around each outline.

    Args:
        outlines: in longitude and latitude.

    >>> measure_rectangles(np.array([shapely.box(0, 0, 0.001, 0.003)]))
    [(331.72, 111.32, 0.0)]
    """
    rectangles = []
    for rectangle in shapely.oriented_envelope(to_local_metres(outlines)):
        corners = shapely.get_coordinates(rectangle).tolist()
        if len(corners) < 4:
            rectangles.append((round(float(rectangle.length), 2), 0.0, 0.0))
            continue
        (x, y), (x_1, y_1), (x_2, y_2) = corners[:3]
        sides = (x_1 - x, y_1 - y), (x_2 - x_1, y_2 - y_1)
        lengths = [math.hypot(*side) for side in sides]
        longer = sides[int(lengths[1] > lengths[0])]
        azimuth = round(math.degrees(math.atan2(*longer)) % 180, 1) % 180
        rectangles.append((round(max(lengths), 2), round(min(lengths), 2), azimuth))
    return rectangles


def spacing_m(grid: Grid, column: float, row: float) -> tuple[float, float]:
    """Return the distances on the ground between neighbouring columns and rows at a pixel, metres."""
    x, y = grid.to_crs(np.array([column, column + 1.0, column]), np.array([row, row, row + 1.0]))
    lon, lat = grid.to_lonlat(x, y)
    _, _, distances = GEOD.inv([lon[0], lon[0]], [lat[0], lat[0]], [lon[1], lon[2]], [lat[1], lat[2]])
    return float(distances[0]), float(distances[1])


def slope_deg(heights_m: NDArray[np.floating], valid: NDArray[np.bool_], spacing: tuple[float, float]) -> NDArray[Any]:
    """Return the slope of a window of heights in degrees (Horn 1981, 3 x 3); NaN at and beside invalid pixels.

    Args:
        heights_m: heights, metres.
        valid: which heights are valid.
        spacing: distances between neighbouring columns and rows, metres.
    """
    padded = np.pad(np.where(valid, heights_m, np.nan).astype(np.float64), 1, mode="edge")
    height, width = valid.shape

    def shift(down: int, across: int) -> NDArray[Any]:
        return padded[1 + down : 1 + down + height, 1 + across : 1 + across + width]

    by_column = (shift(-1, 1) + 2 * shift(0, 1) + shift(1, 1) - shift(-1, -1) - 2 * shift(0, -1) - shift(1, -1)) / (
        8 * spacing[0]
    )
    by_row = (shift(1, -1) + 2 * shift(1, 0) + shift(1, 1) - shift(-1, -1) - 2 * shift(-1, 0) - shift(-1, 1)) / (
        8 * spacing[1]
    )
    return np.asarray(np.degrees(np.arctan(np.hypot(by_column, by_row))))
