"""Elevation models in tiles, as they are handed out: those below a scene are brought together into one raster."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from detection.imagery.errors import CoverageError, ImageryError, NotARasterError, TooLargeError, TruncatedRasterError
from detection.imagery.raster.areas import geodesic_pixel_m2
from detection.imagery.raster.grid import LONLAT, Grid, apply_affine, local_utm, lonlat_frame
from detection.imagery.raster.raster import grid_of, inspect, window_of, writing_geotiff
from detection.imagery.raster.reading.values import HEIGHT, open_values
from detection.imagery.raster.terrain import NODATA, STRIP
from detection.imagery.raster.untrusted import LIMITS, NO_LIMITS, open_raster
from detection.imagery.raster.warping import warp

SUFFIXES: Final = (".tif", ".tiff")
# What providers lay beside heights on the same ground: masks of editing, filling and water, errors, counts, dates.
COMPANION_FILES: Final = re.compile(
    r"_(ACM|EDM|FLM|HEM|WBM|MSK|STK|MAD|COUNT|MATCHTAG|DATAMASK|MAXDATE|MINDATE)\.TIFF?", re.IGNORECASE
)
MOST_FILES: Final = 30_000  # the whole earth in squares of a degree has 26,450
# Ground around a scene that is taken too.
AROUND, AROUND_DEG = 0.05, 0.02
ALIGNED_PX: Final = 1e-3
Box = tuple[float, float, float, float]
"""West, south, east, north."""


class JoinedTiles(NamedTuple):
    """The tiles that a raster was made of, the finest first, and what was left out."""

    tiles: tuple[Path, ...]
    notes: tuple[str, ...]


class _Tile(NamedTuple):
    path: Path
    grid: Grid
    box: Box
    pixel_m: float

    @property
    def size(self) -> float:
        """Area of a pixel in units of its system."""
        return abs(self.grid.transform.determinant)


def join_tiles(dem: Path, ground: Grid, out: Path) -> JoinedTiles:
    """Write the heights below a grid as one raster; holes between tiles are nodata.

    Tiles of one system are laid on the grid of the finest, those that share its pixels bit for bit. Tiles of several
    systems are brought to the UTM zone of the ground (cubic). Where tiles overlap the finest counts, then the first by
    name.

    `dem`: a GeoTIFF, or a folder of them, at any depth and by any names.

    Raises:
        CoverageError: no tile lies there.
        NotARasterError: heights above different zeros; or nothing there is an elevation model.
        TooLargeError: too many files, or too many pixels.
        TruncatedRasterError: a block of a tile cannot be read.
    """
    west, south, east, north = _box_of(ground)
    more_x, more_y = (AROUND * extent + AROUND_DEG for extent in (east - west, north - south))
    box = west - more_x, max(-90.0, south - more_y), east + more_x, min(90.0, north + more_y)
    notes: list[str] = []
    tiles = list(_find(dem, box, notes))
    one_system = all(tile.grid.crs == tiles[0].grid.crs for tile in tiles)  # else degrees and metres are compared
    tiles.sort(key=lambda tile: (float(f"{tile.size if one_system else tile.pixel_m:.5g}"), tile.path.as_posix()))
    if not tiles:
        raise CoverageError(f"{dem}: no tile of heights lies on its ground{f'; {notes[0]}' if notes else ''}")
    vertical = {inspect(tile.path).vertical: tile.path.name for tile in tiles}
    vertical.pop("", None)
    if len(vertical) > 1:
        systems = ", ".join(f"{name} in {system}" for system, name in sorted(vertical.items()))
        raise NotARasterError(f"{dem}: heights of several systems ({systems}): their seams would be slopes; choose one")
    grid = _choose_grid(tiles, ground, box)
    if grid.width * grid.height > LIMITS.pixels:
        raise TooLargeError(
            f"{dem}: {grid.width} x {grid.height} pixels of heights below the scene, the limit is {LIMITS.pixels:,}; "
            "give coarser ones"
        )
    with writing_geotiff(out, grid, "float32", nodata=NODATA) as write, ExitStack() as stack:
        opened = [(tile.path, *_open(tile, grid, stack, ground, notes)) for tile in tiles]
        for row in range(0, grid.height, STRIP):
            rows = min(STRIP, grid.height - row)
            values = np.full((rows, grid.width), NODATA, np.float32)
            for path, source, (left, top, right, bottom) in opened:
                first, last = max(row, top), min(row + rows, bottom)
                if first < last:
                    part = values[first - row : last - row, left:right]
                    _fill(part, source, path, (left, first, right - left, last - first))
            write(values, 0, row)
    return JoinedTiles(tuple(tile.path for tile in tiles), tuple(notes))


def _find(dem: Path, box: Box, notes: list[str]) -> Iterator[_Tile]:
    if dem.is_dir():
        paths = sorted(path for path in dem.rglob("*") if path.suffix.lower() in SUFFIXES)
        paths = [path for path in paths if path.is_file() and not COMPANION_FILES.search(path.name)]
    else:
        paths = [dem]
    if len(paths) > MOST_FILES:
        raise TooLargeError(f"{dem}: more than {MOST_FILES:,} rasters; name the folder of your region")
    for path in paths:
        try:
            with open_raster(path, NO_LIMITS) as source:
                if dem.is_dir() and (source.count > 1 or source.dtypes[0] == "uint8"):
                    continue  # a picture or a mask
                grid = grid_of(source, path)
        except ImageryError as error:
            notes.append(f"left out: {error}")
            continue
        west, south, east, north = found = _box_of(grid)
        if west < box[2] and box[0] < east and south < box[3] and box[1] < north:
            yield _Tile(path, grid, found, geodesic_pixel_m2(grid) ** 0.5)


def _box_of(grid: Grid) -> Box:
    frame = lonlat_frame(grid, 64)
    step_x, _, west, _, step_y, north = frame.transform[:6]
    return float(west), float(north + step_y * frame.height), float(west + step_x * frame.width), float(north)


def _choose_grid(tiles: Sequence[_Tile], ground: Grid, box: Box) -> Grid:
    finest = tiles[0]
    a, b, c, d, e, f = finest.grid.transform[:6]
    crs = finest.grid.crs
    if b or d or any(tile.grid.crs != crs for tile in tiles):
        crs = local_utm(ground)
        a, c, e, f = finest.pixel_m, 0.0, -finest.pixel_m, 0.0
    anchor = Affine(abs(a), 0, c, 0, -abs(e), f)
    wkt = crs.to_wkt()
    wanted = _pixels(anchor, transform_bounds(LONLAT.to_wkt(), wkt, *box, densify_pts=21))
    covered = np.array([_pixels(anchor, _bounds_in(tile.grid, wkt)) for tile in tiles])
    left, top = (max(wanted[k], int(covered[:, k].min())) for k in (0, 1))
    right, bottom = (max(1 + start, min(wanted[k], int(covered[:, k].max()))) for k, start in ((2, left), (3, top)))
    return Grid(Grid(anchor, "", 1, 1).moved(left, top), wkt, right - left, bottom - top)


def _pixels(transform: Affine, bounds: Sequence[float]) -> tuple[int, int, int, int]:
    west, south, east, north = bounds
    left, top = apply_affine(~transform, west, north)
    right, bottom = apply_affine(~transform, east, south)
    return (
        int(np.floor(left + ALIGNED_PX)),
        int(np.floor(top + ALIGNED_PX)),
        int(np.ceil(right - ALIGNED_PX)),
        int(np.ceil(bottom - ALIGNED_PX)),
    )


def _bounds_in(grid: Grid, wkt: str) -> Box:
    xs, ys = grid.to_crs(np.array([0, grid.width, grid.width, 0]), np.array([0, 0, grid.height, grid.height]))
    west, south, east, north = transform_bounds(
        grid.crs_wkt, wkt, float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys)), densify_pts=21
    )
    return west, south, east, north


def _open(
    tile: _Tile, grid: Grid, stack: ExitStack, ground: Grid, notes: list[str]
) -> tuple[Any, tuple[int, int, int, int]]:
    source = stack.enter_context(open_values(tile.path, HEIGHT, ground=ground, notes=notes))
    at = [round(float(one), 9) for one in apply_affine(~grid.transform, *tile.grid.transform[2:6:3])]
    same_step = np.allclose(
        np.array(tile.grid.transform[:6])[[0, 1, 3, 4]],
        np.array(grid.transform[:6])[[0, 1, 3, 4]],
        rtol=1e-9,
        atol=1e-15,
    )
    aligned = tile.grid.crs == grid.crs and same_step and all(abs(one - round(one)) < ALIGNED_PX for one in at)
    warped = warp(
        source,
        grid,
        Resampling.nearest if aligned else Resampling.cubic,
        src_nodata=source.nodata,
        nodata=NODATA,
        dtype="float32",
    )
    left, top, right, bottom = _pixels(grid.transform, _bounds_in(tile.grid, grid.crs_wkt))
    inside = max(0, left), max(0, top), min(grid.width, right), min(grid.height, bottom)
    return stack.enter_context(warped), inside


def _fill(part: Any, source: Any, path: Path, box: tuple[int, int, int, int]) -> None:
    if box[2] <= 0:
        return
    try:
        values = source.read(1, window=window_of(*box))
    except RasterioError:
        raise TruncatedRasterError(f"{path}: a block cannot be read (truncated or damaged file)") from None
    known = np.isfinite(values) & (values != NODATA) & (part == NODATA)
    part[known] = values[known]
