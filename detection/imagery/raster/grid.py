"""Pixel grids on the ground: transform their coordinates, check their place, and compare grids."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from pyproj.exceptions import ProjError

from detection.imagery.errors import ImpossibleCrsError

LONLAT = pyproj.CRS.from_epsg(4326)
# Two grids are the same if their corners differ by less than this, in pixels.
SAME_GRID_PX = 1e-6
# Greatest distance from the central meridian of a UTM zone. Farther away the scale is wrong by several per cent, so the
# stated zone is a mistake.
OFF_ZONE_DEG = 20.0
# UTM coordinates that are all nearer than this to the origin of their zone are pixels: no land lies there.
LEAST_UTM_M = 20_000.0
# Greatest northing: the distance from the equator to a pole, metres.
MOST_NORTHING_M = 10_010_000.0


def apply_affine(transform: Affine, x: Any, y: Any) -> tuple[Any, Any]:
    """Apply an affine to numbers or arrays. The operator of `affine` for this differs between its versions."""
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


@dataclass(frozen=True, slots=True)
class Grid:
    """A georeferenced pixel grid."""

    transform: Affine  # from (column, row) to the CRS; (0, 0) is the outer corner of the first pixel
    crs_wkt: str  # the CRS as WKT; empty if the raster has no place on the ground, so that its coordinates are pixels
    width: int  # columns
    height: int  # rows

    @property
    def crs(self) -> pyproj.CRS:
        """The CRS as an object of pyproj."""
        return _read_crs(self.crs_wkt)

    @property
    def placed(self) -> bool:
        """Whether the grid has a place on the ground."""
        return bool(self.crs_wkt)

    @property
    def crs_name(self) -> str:
        """`EPSG:code` where there is one, else the CRS's name; `pixels` for a grid without a place."""
        if not self.placed:
            return "pixels"
        code = self.crs.to_epsg()
        return f"EPSG:{code}" if code else str(self.crs.name)

    def to_crs(self, columns: NDArray[Any], rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Map (column, row) to coordinates in the CRS."""
        return apply_affine(self.transform, columns, rows)

    def to_lonlat(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Map coordinates in the CRS to longitude and latitude in degrees (WGS 84); unchanged without a place."""
        if not self.placed:
            return np.asarray(x, np.float64), np.asarray(y, np.float64)
        lon, lat = make_lonlat_transformer(self.crs_wkt).transform(x, y)
        return np.asarray(lon), np.asarray(lat)

    def transform_at(self, column: float, row: float) -> Affine:
        """Return the transform of the part of the grid whose first pixel is (column, row)."""
        a, b, _, d, e = self.transform[:5]
        x, y = apply_affine(self.transform, column, row)
        return Affine(a, b, x, d, e, y)

    def pixel_of(self, lon: float, lat: float) -> tuple[float, float]:
        """Return the fractional (column, row) of a place, which may lie outside of the grid."""
        x, y = from_lonlat(self, lon, lat)
        column, row = apply_affine(~self.transform, x, y)
        return float(column), float(row)


def horizontal_wkt(wkt: str) -> str:
    """Return the horizontal system of a compound system as WKT, and any other system unchanged."""
    if not wkt.startswith(("COMPD_CS", "COMPOUNDCRS")):
        return wkt
    return str(pyproj.CRS(wkt).sub_crs_list[0].to_wkt())


@lru_cache(maxsize=32)
def _read_crs(wkt: str) -> pyproj.CRS:
    return pyproj.CRS.from_wkt(wkt)


@lru_cache(maxsize=32)
def make_lonlat_transformer(wkt: str) -> pyproj.Transformer:
    """Return the transformer from a CRS to longitude and latitude, cached because it takes long to construct."""
    return pyproj.Transformer.from_crs(_read_crs(wkt), LONLAT, always_xy=True)


@lru_cache(maxsize=32)
def _make_crs_transformer(wkt: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(LONLAT, _read_crs(wkt), always_xy=True)


def from_lonlat(grid: Grid, lon: Any, lat: Any) -> tuple[Any, Any]:
    """Map longitude and latitude to coordinates in the CRS of a grid."""
    return _make_crs_transformer(grid.crs_wkt).transform(lon, lat)


def local_utm(grid: Grid) -> pyproj.CRS:
    """Return the UTM zone (metres) in which the centre of a grid lies."""
    lon, lat = grid.to_lonlat(*grid.to_crs(np.array([grid.width / 2]), np.array([grid.height / 2])))
    return pyproj.CRS.from_epsg(utm_code(float(lon[0]), float(lat[0])))


def utm_code(lon: float, lat: float) -> int:
    """Return the EPSG code of the UTM zone (metres) in which a place lies.

    >>> utm_code(8.9, 46.2), utm_code(-70.0, -33.0)
    (32632, 32719)
    """
    return (32600 if lat >= 0 else 32700) + int((lon + 180) // 6) % 60 + 1


def check_place(grid: Grid, path: Path) -> None:
    """Refuse coordinates that the CRS cannot have.

    A UTM zone may be used beyond its six degrees, as in some countries and in mosaics near a pole, and northings may be
    negative. A possible longitude and latitude do not suffice: easting 5398 and northing -4658 in UTM 54N have both,
    but they are pixels and not metres.

    Raises:
        ImpossibleCrsError: a corner has no place on the globe, the coordinates are pixels, or the system is local.
    """
    columns, rows = np.array([0, grid.width, grid.width, 0]), np.array([0, 0, grid.height, grid.height])
    x, y = grid.to_crs(columns, rows)
    if abs(grid.transform.determinant) < 1e-18:
        raise ImpossibleCrsError(f"{path}: the geotransform has no area")
    try:
        lon, lat = grid.to_lonlat(x, y)
    except ProjError:
        raise ImpossibleCrsError(
            f"{path}: {grid.crs_name} is a local system that is tied to no place on the earth; write the affine of "
            "your grid into [crs] local of the site file (--site-file); or bring the raster to a projected system "
            "(gdalwarp -t_srs); or use --allow-ungeoreferenced for footprints in pixels"
        ) from None
    is_on_globe = np.isfinite(lon) & np.isfinite(lat) & (abs(lat) <= 90) & (abs(lon) <= 360)
    if grid.crs.utm_zone is not None:
        is_on_globe &= abs(y) <= MOST_NORTHING_M  # the projection maps larger northings to the other side of the pole
    _refuse(grid, path, x, y, ~is_on_globe, "not on the globe")
    zone = grid.crs.utm_zone
    if zone is None:
        a, b, c, d, e, f = grid.transform[:6]
        counts_pixels = (a, abs(e), b, d, c) == (1, 1, 0, 0, 0) and f in {0, grid.height}
        if grid.crs.is_projected and counts_pixels:
            _refuse(grid, path, x, y, np.full(4, fill_value=True), "these are pixels, not metres")
        return
    if (np.hypot(x, y) < LEAST_UTM_M).all():
        _refuse(grid, path, x, y, np.full(4, fill_value=True), f"these look like pixels, not like metres of UTM {zone}")
    central = int(zone[:-1]) * 6 - 183
    off_deg = abs((lon - central + 180) % 360 - 180)
    _refuse(grid, path, x, y, off_deg > OFF_ZONE_DEG, f"{off_deg.max():.0f} degrees beside UTM zone {zone}")


def _refuse(grid: Grid, path: Path, x: NDArray[Any], y: NDArray[Any], wrong: NDArray[np.bool_], why: str) -> None:
    """Refuse a grid if one of its corners is wrong. Corners are in clockwise order from the upper left."""
    for corner, name in enumerate(("upper left", "upper right", "lower right", "lower left")):
        if wrong[corner]:
            raise ImpossibleCrsError(
                f"{path}: {name} corner {x[corner]:.1f}, {y[corner]:.1f} is impossible in {grid.crs_name}: {why}"
            )


def turn_north_up(grid: Grid) -> Grid:
    """Return the grid of the same pixels with rows from north to south and columns from west to east.

    A grid that is rotated or sheared stays as it is.

    >>> up = Grid(Affine(10, 0, 500, 0, 10, 200), "", 4, 3)
    >>> [round(value) for value in turn_north_up(up).transform[:6]]
    [10, 0, 500, 0, -10, 230]
    """
    a, b, c, d, e, f = grid.transform[:6]
    if b or d or (a > 0 > e):
        return grid
    if a < 0:
        a, c = -a, c + a * grid.width
    if e > 0:
        e, f = -e, f + e * grid.height
    return Grid(Affine(a, b, c, d, e, f), grid.crs_wkt, grid.width, grid.height)


def same_grid(first: Grid, second: Grid) -> bool:
    """Return whether two grids have the same CRS, shape and transform, within a millionth of a pixel."""
    if (first.width, first.height, first.placed) != (second.width, second.height, second.placed):
        return False
    if not first.placed:
        return True
    return corner_shift_px(first, second) < SAME_GRID_PX and first.crs == second.crs


def corner_shift_px(first: Grid, second: Grid) -> float:
    """Return the largest distance between the corners of two grids, in pixels of the coarser; infinite if unknown."""
    if not (first.placed and second.placed):
        return float("inf")
    into_first = pyproj.Transformer.from_crs(second.crs, first.crs, always_xy=True)
    shift = 0.0
    coarser = max(1.0, first.width / second.width, first.height / second.height)
    for across, down in ((0, 0), (1, 0), (1, 1), (0, 1)):
        x, y = apply_affine(second.transform, across * second.width, down * second.height)
        if first.crs != second.crs:
            x, y = into_first.transform(x, y)
        if not (np.isfinite(x) and np.isfinite(y)):
            return float("inf")
        column, row = apply_affine(~first.transform, x, y)
        shift = max(shift, np.hypot(column - across * first.width, row - down * first.height) / coarser)
    return float(shift)


def grid_around(lon: float, lat: float, size_px: int, pixel_m: float, *, geographic: bool = False) -> Grid:
    """Make a square grid around a place: in its UTM zone, snapped to whole pixels, or in degrees (EPSG:4326)."""
    if geographic:
        step = pixel_m / 111_319.49
        left, top = lon - step * size_px / 2, lat + step * size_px / 2
        return Grid(Affine(step, 0, left, 0, -step, top), LONLAT.to_wkt(), size_px, size_px)
    crs = pyproj.CRS.from_epsg(utm_code(lon, lat))
    x, y = pyproj.Transformer.from_crs(LONLAT, crs, always_xy=True).transform(lon, lat)
    left, top = (round((value + sign * size_px * pixel_m / 2) / pixel_m) * pixel_m for value, sign in ((x, -1), (y, 1)))
    return Grid(Affine(pixel_m, 0, left, 0, -pixel_m, top), crs.to_wkt(), size_px, size_px)


def lonlat_frame(grid: Grid, longest_px: int) -> Grid:
    """Return a grid in longitude and latitude over the bounds of another grid. Its pixels are square on the ground.

    Args:
        grid: the other grid.
        longest_px: most pixels along the longer side.
    """
    share = np.linspace(0, 1, 21)
    zero, one = np.zeros_like(share), np.ones_like(share)
    columns = np.concatenate([share, share, zero, one]) * grid.width
    rows = np.concatenate([zero, one, share, share]) * grid.height
    lon, lat = grid.to_lonlat(*grid.to_crs(columns, rows))
    left, right, bottom, top = lon.min(), lon.max(), lat.min(), lat.max()
    narrowing = max(np.cos(np.radians((bottom + top) / 2)), 1e-3)
    extent = max((right - left) * narrowing, top - bottom)
    step = extent / min(longest_px, max(grid.width, grid.height))
    width, height = max(1, round((right - left) * narrowing / step)), max(1, round((top - bottom) / step))
    transform = Affine((right - left) / width, 0, left, 0, (bottom - top) / height, top)
    return Grid(transform, LONLAT.to_wkt(), width, height)
