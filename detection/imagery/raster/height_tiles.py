"""Join the tiles of an elevation model below a scene into one raster. Providers distribute heights in such tiles."""

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
from detection.imagery.raster.terrain import NODATA, STRIP_ROWS
from detection.imagery.raster.untrusted import LIMITS, NO_LIMITS, open_raster
from detection.imagery.raster.warping import warp

SUFFIXES: Final = (".tif", ".tiff")
# Names of rasters that providers put beside heights: masks of editing, filling and water, errors, counts and dates.
COMPANION_FILES: Final = re.compile(
    r"_(ACM|EDM|FLM|HEM|WBM|MSK|STK|MAD|COUNT|MATCHTAG|DATAMASK|MAXDATE|MINDATE)\.TIFF?", re.IGNORECASE
)
MOST_FILES: Final = 30_000  # 26,450 tiles of one degree cover the earth
# Ground around a scene that is joined too: the sum of a share of its extent and of some degrees.
MARGIN_SHARE: Final = 0.05
MARGIN_DEG: Final = 0.02
# Pixels of two grids are the same if they differ by less than this.
ALIGNED_PX: Final = 1e-3
Box = tuple[float, float, float, float]
"""West, south, east, north."""
PixelBox = tuple[int, int, int, int]
"""Left, top, right, bottom; right and bottom exclusive."""


class JoinedTiles(NamedTuple):
    """The tiles of a joined raster, the finest first, and notes on the files and values that were left out."""

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
    box: PixelBox  # part of the joined grid that it can cover


def join_tiles(dem: Path, ground: Grid, out: Path) -> JoinedTiles:
    """Write the heights below a grid as one raster; gaps between tiles are nodata.

    Tiles of one coordinate system are joined on the grid of the finest tile. Tiles with the same pixels are copied bit
    for bit. Tiles of several systems are warped to the UTM zone of the ground (cubic). Where tiles overlap, the finest
    tile counts, and of equally fine tiles the first by name.

    Args:
        dem: a GeoTIFF, or a folder that contains GeoTIFFs, at any depth and with any names.
        ground: the grid.
        out: the joined raster.

    Raises:
        CoverageError: no tile shows the ground of the grid.
        NotARasterError: the heights are in several vertical systems.
        TooLargeError: there are too many files, or the joined raster has too many pixels.
        TruncatedRasterError: a block of a tile cannot be read.
    """
    west, south, east, north = _find_lonlat_box(ground)
    margin_x, margin_y = (MARGIN_SHARE * extent + MARGIN_DEG for extent in (east - west, north - south))
    box = west - margin_x, max(-90.0, south - margin_y), east + margin_x, min(90.0, north + margin_y)
    notes: list[str] = []
    tiles = list(_find_tiles(dem, box, notes))
    if not tiles:
        raise CoverageError(
            f"{dem}: no tile of heights shows the ground of the scene{f'; {notes[0]}' if notes else ''}"
        )
    # Pixel areas in units of the system are exact. Of several systems only areas in metres can be compared.
    in_one_system = all(tile.grid.crs == tiles[0].grid.crs for tile in tiles)

    def order(tile: _Tile) -> tuple[float, str]:
        size = tile.pixel_area if in_one_system else tile.pixel_m
        return float(f"{size:.5g}"), tile.path.as_posix()

    tiles.sort(key=order)
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
        for row in range(0, grid.height, STRIP_ROWS):
            heights = np.full((min(STRIP_ROWS, grid.height - row), grid.width), NODATA, np.float32)
            for tile in open_tiles:
                _fill_gaps(heights, row, tile)
            write(heights, 0, row)
    return JoinedTiles(tuple(tile.path for tile in tiles), tuple(notes))


def _find_tiles(dem: Path, box: Box, notes: list[str]) -> Iterator[_Tile]:
    """Yield the tiles that overlap a box in longitude and latitude, and add files that cannot be used to `notes`."""
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
    return Grid(Grid(anchor, "", 1, 1).transform_at(left, top), wkt, right - left, bottom - top)


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
    steps, grid_steps = (np.array(side.transform[:6])[[0, 1, 3, 4]] for side in (tile_grid, grid))
    if tile_grid.crs != grid.crs or not np.allclose(steps, grid_steps, rtol=1e-9, atol=1e-15):
        return False
    corner = apply_affine(~grid.transform, tile_grid.transform.c, tile_grid.transform.f)
    offsets = [round(float(offset), 9) for offset in corner]
    return all(abs(offset - round(offset)) < ALIGNED_PX for offset in offsets)


def _fill_gaps(heights: NDArray[np.float32], row: int, tile: _OpenTile) -> None:
    """Fill the gaps in a strip of heights from a tile. `row` is the first row of the strip in the joined grid."""
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
