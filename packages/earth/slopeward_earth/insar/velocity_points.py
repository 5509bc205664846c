"""Points with a velocity, as CSV: brought onto a raster by the median of each cell."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import NoValidPixelsError, SceneError, TooLargeError
from detection.imagery.raster.grid import Grid, from_lonlat, grid_around
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.raster.reading.fills import ValueStatistics

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
NONE: Final = "none"
# A number that this many points share, and that is this many times larger than all others, may stand for "no value".
REPEATED_LEAST: Final = 5
REPEATED_FAR: Final = 3.0


@dataclass(frozen=True, slots=True)
class GriddedPoints:
    """Rasters made from points."""

    velocity: Path
    sigma: Path | None  # None: no point has an error
    warnings: tuple[str, ...]  # one sentence each


def grid_points(path: Path, cell_m: float, out: Path, fill: str | None = None) -> GriddedPoints:
    """Write the median velocity of the points of each cell, and the median of their errors.

    A number that stands for "no value" is left out with its point. A cell that has no other point has no value.

    Args:
        path: table with the columns longitude, latitude and velocity.
        fill: the number that stands for "no value", or `none` where every number is a velocity; None: numbers that
            usually stand for it and lie far from all others.

    Raises:
        SceneError: the file is no such table, or a repeated number may stand for "no value".
    """
    rows = np.array(list(_read_csv(path)), np.float64).reshape(-1, 4)
    around = (np.abs(rows[:, 0]) > 180) & (np.abs(rows[:, 0]) <= 360)  # from 0 to 360, or from -360 to 0
    rows[around, 0] -= 360 * np.sign(rows[around, 0])
    warnings = []
    for number in _find_fills(rows[:, 2], fill):
        is_fill_value = rows[:, 2] == number
        rows[is_fill_value, 2] = np.nan
        warnings.append(
            f"{int(is_fill_value.sum())} points of {len(rows)} have the velocity {number:.7g}, which stands for no "
            "value: they are left out"
        )
    if fill is None:
        _refuse_repeated(path, rows[:, 2])
    for number in _find_fills(rows[:, 3], fill):
        rows[rows[:, 3] == number, 3] = np.nan
    rows[rows[:, 3] <= 0, 3] = np.nan
    good = np.isfinite(rows[:, :3]).all(axis=1) & (np.abs(rows[:, 0]) <= 180) & (np.abs(rows[:, 1]) <= 90)
    if not good.all():
        warnings.append(f"{int((~good).sum())} points of {len(rows)} have no place or no velocity")
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
    has_sigma = np.isfinite(rows[:, 3])
    if not has_sigma.all():
        return GriddedPoints(velocity, None, tuple(warnings))
    sigma = out / "sigma.tif"
    write_geotiff(sigma, _median(rows[:, 3], place, grid)[None], grid, nodata=NODATA)
    return GriddedPoints(velocity, sigma, tuple(warnings))


def _find_fills(values: NDArray[np.float64], fill: str | None) -> list[float]:
    """Find the numbers of a column that stand for "no value"; `fill` as in `grid_points`."""
    if fill == NONE:
        return []
    if fill is not None:
        try:
            return [float(fill)]
        except ValueError:
            raise SceneError(f"--fill: expected a number or {NONE}, got {fill[:40]!r}") from None
    statistics = ValueStatistics()
    statistics.add(values, np.isfinite(values))
    return list(statistics.find_fills())


def _refuse_repeated(path: Path, velocities: NDArray[np.float64]) -> None:
    """Refuse a velocity that many points share and that is far from all others.

    It may be a fill or a block that moves: only the user can say which.
    """
    numbers, counts = np.unique(velocities[np.isfinite(velocities)], return_counts=True)
    if len(numbers) < 2:
        return
    for number, count in ((numbers[0], counts[0]), (numbers[-1], counts[-1])):
        usual = float(np.abs(numbers[numbers != number]).max())
        if count >= REPEATED_LEAST and abs(number) > REPEATED_FAR * usual:
            raise SceneError(
                f"{path}: {count} points have the velocity {number:.7g}, and no other is beyond {usual:.7g}: does it "
                f"stand for no value? Give --fill={number:.7g}, or --fill={NONE} where it is a velocity"
            )


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
