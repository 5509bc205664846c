"""Points with a velocity, as CSV or GeoPackage: brought onto a raster by the median of each cell."""

import csv
import math
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import NoValidPixelsError, SceneError, TooLargeError
from detection.imagery.raster.grid import Grid, from_lonlat, grid_around
from detection.imagery.raster.raster import write_geotiff

SUFFIXES: Final = (".csv", ".gpkg")
LON: Final = ("longitude", "lon", "x")
LAT: Final = ("latitude", "lat", "y")
VELOCITY: Final = ("velocity", "mean_velocity", "vel", "rate")
SIGMA: Final = ("velocity_std", "mean_velocity_std", "sigma", "vel_std", "std")
POINTS_MOST: Final = 5_000_000
SIDE_MOST: Final = 20_000
CELLS_MOST: Final = 50_000_000  # 200 MB for each raster
NODATA: Final = -9999.0
LONLAT_SRS: Final = 4326
# Bytes of the envelope by its kind (OGC 12-128r18, clause 2.1.3).
ENVELOPES: Final = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}


def is_points(path: Path) -> bool:
    """Whether a file holds points, by its name."""
    return path.suffix.lower() in SUFFIXES


def grid_points(path: Path, cell_m: float, out: Path) -> tuple[Path, Path | None, list[str]]:
    """Write the median velocity of the points of each cell, and where all points bring it the median of their sigma.

    `path`: CSV with the columns longitude, latitude and velocity, or a GeoPackage of points in EPSG:4326.

    Returns the raster of velocities, that of sigmas or None, and what must be known of it.

    Raises:
        SceneError: the file is no such table.
    """
    rows = np.array(list(_read(path)), np.float64).reshape(-1, 4)
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
    """The median of each cell, by one sort."""
    order = np.lexsort((values, place))
    cells, first, count = np.unique(place[order], return_index=True, return_counts=True)
    low, high = first + (count - 1) // 2, first + count // 2
    found = np.full(grid.width * grid.height, NODATA, np.float32)
    found[cells] = (values[order][low] + values[order][high]) / 2
    return found.reshape(grid.height, grid.width)


def _read(path: Path) -> Iterator[tuple[float, float, float, float]]:
    for count, row in enumerate(_read_gpkg(path) if path.suffix.lower() == ".gpkg" else _read_csv(path)):
        if count >= POINTS_MOST:
            raise TooLargeError(f"{path}: more than {POINTS_MOST:,} points; cut the file")
        yield row


def _choose(path: Path, names: Mapping[str, Any], wanted: tuple[str, ...], *, needed: bool = True) -> str | None:
    known = {name.strip().lower(): name for name in names}
    found = next((known[name] for name in wanted if name in known), None)
    if found is None and needed:
        raise SceneError(f"{path}: no column {', '.join(wanted)}; found: {', '.join(list(names)[:20])}")
    return found


def _number(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return math.nan
    return found


def _read_csv(path: Path) -> Iterator[tuple[float, float, float, float]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            names = dict.fromkeys(table.fieldnames or ())
            columns = [_choose(path, names, wanted) for wanted in (LON, LAT, VELOCITY)]
            sigma = _choose(path, names, SIGMA, needed=False)
            for row in table:
                yield (
                    _number(row[columns[0] or ""]),
                    _number(row[columns[1] or ""]),
                    _number(row[columns[2] or ""]),
                    math.nan if sigma is None else _number(row[sigma]),
                )
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise SceneError(f"{path}: cannot be read as CSV ({' '.join(str(error).split())[:120]})") from None


def _read_gpkg(path: Path) -> Iterator[tuple[float, float, float, float]]:
    """Points of the only layer of points, read without a right to write."""
    db = None
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        layers = db.execute(
            "SELECT table_name, column_name, srs_id FROM gpkg_geometry_columns WHERE geometry_type_name = 'POINT'"
        ).fetchall()
        if len(layers) != 1:
            raise SceneError(f"{path}: {len(layers)} layers of points; one is expected")
        table, geometry, srs = (str(one) for one in layers[0])
        if srs != str(LONLAT_SRS):
            raise SceneError(f"{path}: its points are in EPSG:{srs}; EPSG:{LONLAT_SRS} is expected")
        names = {str(row[1]): None for row in db.execute(f"PRAGMA table_info({_quote(table)})")}
        velocity, sigma = _choose(path, names, VELOCITY), _choose(path, names, SIGMA, needed=False)
        wanted = ", ".join(_quote(name) for name in (geometry, velocity or "", sigma or velocity or ""))
        for blob, value, error in db.execute(f"SELECT {wanted} FROM {_quote(table)}"):  # noqa: S608 - quoted above
            yield (*_read_point(blob), _number(value), _number(error) if sigma else math.nan)
    except (sqlite3.Error, struct.error) as error:
        raise SceneError(f"{path}: cannot be read as a GeoPackage ({' '.join(str(error).split())[:120]})") from None
    finally:
        if db is not None:
            db.close()


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _read_point(blob: Any) -> tuple[float, float]:
    """Longitude and latitude of a point in the binary of a GeoPackage; NaN where it is none."""
    if not isinstance(blob, bytes) or blob[:2] != b"GP" or len(blob) < 8:
        return math.nan, math.nan
    start = 8 + ENVELOPES.get((blob[3] >> 1) & 7, 0)
    order = "<" if blob[start : start + 1] == b"\1" else ">"
    if len(blob) < start + 21:
        return math.nan, math.nan
    kind, x, y = struct.unpack_from(f"{order}Idd", blob, start + 1)
    return (x, y) if kind % 1000 == 1 else (math.nan, math.nan)
