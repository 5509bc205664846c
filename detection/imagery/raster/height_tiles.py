"""Elevation models in tiles, as providers distribute them: the tiles below a scene are joined into one raster."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
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
# Rasters that providers put beside heights: masks of editing, filling and water, errors, counts and dates.
COMPANION_FILES: Final = re.compile(
    r"_(ACM|EDM|FLM|HEM|WBM|MSK|STK|MAD|COUNT|MATCHTAG|DATAMASK|MAXDATE|MINDATE)\.TIFF?", re.IGNORECASE
)
MOST_FILES: Final = 30_000  # the earth in tiles of one degree has 26,450
# Ground around a scene that is joined too: a share of its extent, and degrees.
MARGIN_SHARE: Final = 0.05
MARGIN_DEG: Final = 0.02
# Grids whose pixels differ by less are the same.
ALIGNED_PX: Final = 1e-3
Box = tuple[float, float, float, float]
"""West, south, east, north."""
PixelBox = tuple[int, int, int, int]
"""Left, top, right, bottom; right and bottom exclusive."""


class JoinedTiles(NamedTuple):
    """The tiles of a joined raster, the finest first, and a sentence on each that was left out."""

    tiles: tuple[Path, ...]
    notes: tuple[str, ...]


class _Tile(NamedTuple):
    path: Path
    grid: Grid
    pixel_m: float

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in units of its system."""
        return abs(self.grid.transform.determinant)


class _OpenTile(NamedTuple):
    path: Path
    source: Any  # its heights on the joined grid
    box: PixelBox  # of the joined grid that it can cover


def join_tiles(dem: Path, ground: Grid, out: Path) -> JoinedTiles:
    """Write the heights below a grid as one raster; gaps between tiles are nodata.

    Tiles of one system are joined on the grid of the finest tile; tiles with the same pixels are copied bit for bit.
    Tiles of several systems are warped to the UTM zone of the ground (cubic). Where tiles overlap, the finest counts,
    then the first by name.

    Args:
        dem: a GeoTIFF, or a folder that contains some, at any depth and with any names.

    Raises:
        CoverageError: no tile lies on the ground.
        NotARasterError: the heights are in several vertical systems.
        TooLargeError: too many files, or too many pixels.
        TruncatedRasterError: a block of a tile cannot be read.
    """
    west, south, east, north = _find_lonlat_box(ground)
    margin_x, margin_y = (MARGIN_SHARE * extent + MARGIN_DEG for extent in (east - west, north - south))
    box = west - margin_x, max(-90.0, south - margin_y), east + margin_x, min(90.0, north + margin_y)
    notes: list[str] = []
    tiles = list(_find_tiles(dem, box, notes))
    if not tiles:
        raise CoverageError(f"{dem}: no tile of heights lies on its ground{f'; {notes[0]}' if notes else ''}")
    # Areas in units of the system are exact, but degrees and metres cannot be compared.
    in_one_system = all(tile.grid.crs == tiles[0].grid.crs for tile in tiles)
    tiles.sort(
        key=lambda tile: (float(f"{tile.pixel_area if in_one_system else tile.pixel_m:.5g}"), tile.path.as_posix())
    )
    vertical_systems = {inspect(tile.path).vertical: tile.path.name for tile in tiles}
    vertical_systems.pop("", None)
    if len(vertical_systems) > 1:
        systems = ", ".join(f"{name} in {system}" for system, name in sorted(vertical_systems.items()))
        raise NotARasterError(f"{dem}: heights of several systems ({systems}): their seams would be slopes; choose one")
    grid = _choose_grid(tiles, ground, box)
    if grid.width * grid.height > LIMITS.pixels:
        raise TooLargeError(
            f"{dem}: {grid.width} x {grid.height} pixels of heights below the scene, the limit is {LIMITS.pixels:,}; "
            "give coarser ones"
        )
    with writing_geotiff(out, grid, "float32", nodata=NODATA) as write, ExitStack() as stack:
        open_tiles = [_open_tile(tile, grid, stack, ground, notes) for tile in tiles]
        for row in range(0, grid.height, STRIP):
            heights = np.full((min(STRIP, grid.height - row), grid.width), NODATA, np.float32)
            for tile in open_tiles:
                _fill(heights, row, tile)
            write(heights, 0, row)
    return JoinedTiles(tuple(tile.path for tile in tiles), tuple(notes))


def _find_tiles(dem: Path, box: Box, notes: list[str]) -> Iterator[_Tile]:
    """Yield the tiles that overlap a box in longitude and latitude; `notes` names the files that cannot be used."""
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
        west, south, east, north = _find_lonlat_box(grid)
        if west < box[2] and box[0] < east and south < box[3] and box[1] < north:
            yield _Tile(path, grid, geodesic_pixel_m2(grid) ** 0.5)


def _find_lonlat_box(grid: Grid) -> Box:
    frame = lonlat_frame(grid, 64)
    step_x, _, west, _, step_y, north = frame.transform[:6]
    return float(west), float(north + step_y * frame.height), float(west + step_x * frame.width), float(north)


def _choose_grid(tiles: Sequence[_Tile], ground: Grid, box: Box) -> Grid:
    """Return the grid of the finest tile, or one of its resolution in UTM, over the part of a box that tiles cover."""
    finest = tiles[0]
    a, b, c, d, e, f = finest.grid.transform[:6]
    crs = finest.grid.crs
    if b or d or any(tile.grid.crs != crs for tile in tiles):
        crs = local_utm(ground)
        a, c, e, f = finest.pixel_m, 0.0, -finest.pixel_m, 0.0
    anchor = Affine(abs(a), 0, c, 0, -abs(e), f)
    wkt = crs.to_wkt()
    needed = _find_pixel_box(anchor, transform_bounds(LONLAT.to_wkt(), wkt, *box, densify_pts=21))
    covered = np.array([_find_pixel_box(anchor, _find_bounds(tile.grid, wkt)) for tile in tiles])
    left = max(needed[0], int(covered[:, 0].min()))
    top = max(needed[1], int(covered[:, 1].min()))
    right = max(left + 1, min(needed[2], int(covered[:, 2].max())))
    bottom = max(top + 1, min(needed[3], int(covered[:, 3].max())))
    return Grid(Grid(anchor, "", 1, 1).moved(left, top), wkt, right - left, bottom - top)


def _find_pixel_box(transform: Affine, bounds: Sequence[float]) -> PixelBox:
    """Return the whole pixels that cover bounds in the units of a transform."""
    west, south, east, north = bounds
    left, top = apply_affine(~transform, west, north)
    right, bottom = apply_affine(~transform, east, south)
    return (
        int(np.floor(left + ALIGNED_PX)),
        int(np.floor(top + ALIGNED_PX)),
        int(np.ceil(right - ALIGNED_PX)),
        int(np.ceil(bottom - ALIGNED_PX)),
    )


def _find_bounds(grid: Grid, wkt: str) -> Box:
    """Return the bounds of a grid in another system."""
    xs, ys = grid.to_crs(np.array([0, grid.width, grid.width, 0]), np.array([0, 0, grid.height, grid.height]))
    west, south, east, north = transform_bounds(
        grid.crs_wkt, wkt, float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys)), densify_pts=21
    )
    return west, south, east, north


def _open_tile(tile: _Tile, grid: Grid, stack: ExitStack, ground: Grid, notes: list[str]) -> _OpenTile:
    source = stack.enter_context(open_values(tile.path, HEIGHT, ground=ground, notes=notes))
    resampling = Resampling.nearest if _is_aligned(tile.grid, grid) else Resampling.cubic
    warped = warp(source, grid, resampling, src_nodata=source.nodata, nodata=NODATA, dtype="float32")
    left, top, right, bottom = _find_pixel_box(grid.transform, _find_bounds(tile.grid, grid.crs_wkt))
    box = max(0, left), max(0, top), min(grid.width, right), min(grid.height, bottom)
    return _OpenTile(tile.path, stack.enter_context(warped), box)


def _is_aligned(tile_grid: Grid, grid: Grid) -> bool:
    """Return whether the pixels of a tile are pixels of the joined grid."""
    steps, grid_steps = (np.array(one.transform[:6])[[0, 1, 3, 4]] for one in (tile_grid, grid))
    if tile_grid.crs != grid.crs or not np.allclose(steps, grid_steps, rtol=1e-9, atol=1e-15):
        return False
    corner = apply_affine(~grid.transform, tile_grid.transform.c, tile_grid.transform.f)
    offsets = [round(float(offset), 9) for offset in corner]
    return all(abs(offset - round(offset)) < ALIGNED_PX for offset in offsets)


def _fill(heights: NDArray[np.float32], row: int, tile: _OpenTile) -> None:
    """Fill the gaps in a strip of heights, which begins at a row of the joined grid, from a tile."""
    left, top, right, bottom = tile.box
    first, last = max(row, top), min(row + len(heights), bottom)
    if first >= last or left >= right:
        return
    try:
        values = tile.source.read(1, window=window_of(left, first, right - left, last - first))
    except RasterioError:
        raise TruncatedRasterError(f"{tile.path}: a block cannot be read (truncated or damaged file)") from None
    part = heights[first - row : last - row, left:right]
    is_new = np.isfinite(values) & (values != NODATA) & (part == NODATA)
    part[is_new] = values[is_new]
