"""Points with a velocity, as CSV: brought onto a raster by the median of each cell."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import NoValidPixelsError, SceneError, TooLargeError
from detection.imagery.raster.grid import Grid, from_lonlat, grid_around
from detection.imagery.raster.raster import write_geotiff

COLUMNS: Final = (
    ("longitude", "lon", "x"),
    ("latitude", "lat", "y"),
    ("velocity", "mean_velocity", "vel", "rate"),
    ("velocity_std", "mean_velocity_std", "sigma", "vel_std", "std"),
)
POINTS_MOST: Final = 5_000_000
SIDE_MOST: Final = 20_000
CELLS_MOST: Final = 50_000_000  # 200 MB for each raster
NODATA: Final = -9999.0


def grid_points(path: Path, cell_m: float, out: Path) -> tuple[Path, Path | None, list[str]]:
    """Write the median velocity of the points of each cell, and where all points bring it the median of their sigma.

    `path`: table with the columns longitude, latitude and velocity.

    Returns the raster of velocities, that of sigmas or None, and what must be known of it.

    Raises SceneError: the file is no such table.
    """
    rows = np.array(list(_read_csv(path)), np.float64).reshape(-1, 4)
    around = (np.abs(rows[:, 0]) > 180) & (np.abs(rows[:, 0]) <= 360)  # from 0 to 360, or from -360 to 0
    rows[around, 0] -= 360 * np.sign(rows[around, 0])
    good = np.isfinite(rows[:, :3]).all(axis=1) & (np.abs(rows[:, 0]) <= 180) & (np.abs(rows[:, 1]) <= 90)
    warnings = [] if good.all() else [f"{int((~good).sum())} points of {len(rows)} have no place or no velocity"]
    rows = rows[good]
    if not len(rows):
        raise NoValidPixelsError(f"{path}: no point has a place and a velocity")
    lon, lat = float(np.median(rows[:, 0])), float(np.median(rows[:, 1]))
    zone = grid_around(lon, lat, 1, cell_m)
    x, y = (np.asarray(one) for one in from_lonlat(zone, rows[:, 0], rows[:, 1]))
    left, top = float(np.floor(x.min() / cell_m)) * cell_m, float(np.ceil(y.max() / cell_m)) * cell_m
    columns, lines = ((x - left) // cell_m).astype(int), ((top - y) // cell_m).astype(int)
    width, height = int(columns.max()) + 1, int(lines.max()) + 1
    if max(width, height) > SIDE_MOST or width * height > CELLS_MOST:
        raise TooLargeError(
            f"{path}: {width} x {height} cells of {cell_m:g} m; take larger cells, or points of one place"
        )
    a, b, _, d, e, _ = zone.transform[:6]
    grid = Grid(type(zone.transform)(a, b, left, d, e, top), zone.crs_wkt, width, height)
    place = lines * width + columns
    velocity = out / "velocity.tif"
    write_geotiff(velocity, _median(rows[:, 2], place, grid)[None], grid, nodata=NODATA)
    if not np.isfinite(rows[:, 3]).all():
        return velocity, None, warnings
    sigma = out / "sigma.tif"
    write_geotiff(sigma, _median(rows[:, 3], place, grid)[None], grid, nodata=NODATA)
    return velocity, sigma, warnings


def _median(values: NDArray[np.float64], place: NDArray[np.intp], grid: Grid) -> NDArray[np.float32]:
    order = np.lexsort((values, place))
    cells, first, count = np.unique(place[order], return_index=True, return_counts=True)
    low, high = first + (count - 1) // 2, first + count // 2
    found = np.full(grid.width * grid.height, NODATA, np.float32)
    found[cells] = (values[order][low] + values[order][high]) / 2
    return found.reshape(grid.height, grid.width)


def _read_csv(path: Path) -> Iterator[tuple[float, ...]]:
    """Longitude, latitude, velocity and sigma of each point; NaN for what is no number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            known = {name.strip().lower(): name for name in table.fieldnames or ()}
            columns = [next((known[name] for name in names if name in known), None) for names in COLUMNS]
            for names, column in zip(COLUMNS[:3], columns, strict=False):
                if column is None:
                    raise SceneError(f"{path}: no column {', '.join(names)}; found: {', '.join(list(known)[:20])}")
            for count, row in enumerate(table):
                if count >= POINTS_MOST:
                    raise TooLargeError(f"{path}: more than {POINTS_MOST:,} points; cut the file")
                yield tuple(math.nan if column is None else _number(row[column]) for column in columns)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise SceneError(f"{path}: cannot be read as CSV ({' '.join(str(error).split())[:120]})") from None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
