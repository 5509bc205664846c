"""Mask black or white borders that the files do not declare and that lossy compression has blurred."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.errors import TruncatedRasterError
from detection.imagery.raster.components import Labelling
from detection.imagery.raster.raster import ByteRaster
from detection.imagery.raster.tiling import cut, list_runs
from detection.imagery.scene.fill import LEAST_PX, LEAST_SHARE, Rim, write_mask
from detection.imagery.scene.reader import BandReader

# Colours of a border, and their value before compression.
BLACK, WHITE = "black", "white"
VALUES: Final = {BLACK: 0.0, WHITE: 255.0}
# Counts by which lossy compression changes the pixels of a border, and those of a block that also contains ground.
NOISE: Final = 3
FRINGE: Final = 12
FRINGE_PX: Final = 8  # side of a block of JPEG
# Side of the window of a majority filter, so that single pixels neither make nor interrupt a border.
MEDIAN_PX: Final = 5
# Smaller components are no borders.
LEAST_BODY_PX: Final = 400
# Share of the pixels of a border that are within the noise, and share that have the exact value in some band: noise
# around black is cut off at 0, the shades of water are not.
FLAT_LEAST: Final = 0.8
BOUND_LEAST: Final = 0.25
# At most this share of the other pixels may be as near to the value of the border as this many counts.
SCENE: Final = 24
SCENE_SHARE_MOST: Final = 0.05
# With a smaller share of pixels next to the exact value, the scene was not compressed, and `fill.set_aside_fills` has
# masked the border.
NOISY_LEAST: Final = 0.005
# Pixels that may be border or ground are reported from this share of the scene on.
DOUBT_SHARE: Final = 0.01
TILE_PX: Final = 512
HALO_PX: Final = 16
CELL_PX: Final = 16  # side of the cells in which doubtful pixels are reported
# Bits of a pixel that may belong to a border: it may; it is within the noise; it has the value in some band; it has a
# fill value in all bands.
REACHED, FLAT, BOUND, EXACT = 1, 2, 4, 8


class Border(NamedTuple):
    """The borders of one colour in a scene."""

    colour: str  # black or white
    share: float  # share of all pixels that were masked
    left_share: float  # share of all pixels that were not masked because they may be ground
    left: list[list[int]]  # windows (column, row, width, height) of whole cells that contain these


def set_aside_borders(reader: BandReader, rim: Rim, work: Path, fills: tuple[float, ...] = ()) -> list[Border]:
    """Mask the noisy borders of a scene, and return them.

    A border is a large connected area at the edge. It is within a few counts of 0 (or, in 8 bits, of 255) in every
    band, its noise is cut off at that value, and it reaches two sides that meet. Hardly any other pixel of the scene is
    nearly as dark (bright). If a condition is not met, the pixels stay ground. Bands of real numbers are not examined.

    Args:
        reader: the bands of the model; the masks are added to it.
        rim: the outermost pixels; see `fill.read_rim`.
        work: folder for the masks.
        fills: fill values that are masked already.
    """
    types = reader.spectral_types
    if not all(np.issubdtype(kind, np.integer) for kind in types):
        return []
    borders = []
    for colour, value in VALUES.items():
        if colour == WHITE and types != {"uint8"}:
            continue
        valid_px = sum(int(np.count_nonzero(valid)) for _, valid in rim)
        near_px = sum(int(np.count_nonzero(valid & (_measure_distance(px, value) <= NOISE))) for px, valid in rim)
        if near_px < max(LEAST_PX, LEAST_SHARE * valid_px):
            continue
        border = _set_aside(reader, colour, work, fills)
        if border is not None:
            borders.append(border)
    return borders


def list_doubtful(borders: Iterable[Mapping[str, Any]]) -> list[tuple[int, int, int, int]]:
    """Return the windows of pixels that may be a border but were kept as ground, from the borders of a record.

    White borders are not included: pixels that bright are as likely cloud, which has other guards.
    """
    doubtful = (b for b in borders if b["colour"] == BLACK and b["left_share"] >= DOUBT_SHARE)
    return [(c, r, w, h) for border in doubtful for c, r, w, h in border.get("left", ())]


def _measure_distance(values: NDArray[np.float32], value: float) -> NDArray[np.float32]:
    return np.asarray(np.abs(values - np.float32(value)).max(axis=0))


def _set_aside(reader: BandReader, colour: str, work: Path, fills: tuple[float, ...]) -> Border | None:
    grid = reader.grid
    drawn = ByteRaster(work / f"{colour}.tif", grid, nodata=None)
    reached, rest, near = _draw(reader, VALUES[colour], drawn, fills)
    with drawn.reading() as read:
        labelling = Labelling(read, grid.width, grid.height, REACHED)
        sums = _add_up(labelling)
        sides = {
            place: body.list_sides(grid.width, grid.height)
            for place, body in enumerate(labelling.components, start=1)
            if body.pixels >= LEAST_BODY_PX
        }
        edge = [place for place, reached_sides in sides.items() if any(reached_sides)]
        pixels, flat, bound, exact = sums[:, edge]
        if flat.sum() - exact.sum() < max(1, NOISY_LEAST * flat.sum()):
            return None
        inner = reached - int(pixels.sum())  # pixels that are as dark but do not touch the edge
        is_flat = (flat >= FLAT_LEAST * pixels) & (bound >= BOUND_LEAST * pixels)
        flat_sides = np.array([sides[place] for place in edge])[is_flat]
        at_corner = any((left or right) and (top or bottom) for left, top, right, bottom in flat_sides)
        sure = is_flat & at_corner & (near + inner <= SCENE_SHARE_MOST * (rest + inner))
        if sure.any():
            reader.add_mask(write_mask(labelling, np.array(edge)[sure], work / f"{colour}-border.tif", reader))
        left = [] if sure.all() else _list_windows(labelling, np.array(edge)[~sure], reader)
    every = grid.width * grid.height
    return Border(colour, float(pixels[sure].sum()) / every, float(pixels[~sure].sum()) / every, left)


def _draw(reader: BandReader, value: float, target: ByteRaster, fills: tuple[float, ...]) -> tuple[int, int, int]:
    """Write the bits of the pixels that may belong to a border.

    Returns:
        The number of these pixels, of other valid pixels, and of those among the others that are near to the value.
    """
    reached_px = rest_px = near_px = 0
    grid = reader.grid
    with target.writing() as write:
        for tile in cut(grid.width, grid.height, TILE_PX, HALO_PX):
            try:
                values, valid = reader.read_spectral(tile.read_column, tile.read_row, tile.read_width, tile.read_height)
            except TruncatedRasterError:  # reported when the network reads the block
                write(np.zeros((tile.own_height, tile.own_width), np.uint8), tile.own_column, tile.own_row)
                continue
            distance = np.where(valid, _measure_distance(values, value), np.float32(np.inf))
            flat = distance <= NOISE
            core = ndimage.uniform_filter(flat.astype(np.float32), MEDIAN_PX, mode="nearest") > 0.5
            reached = (distance <= FRINGE) & ndimage.maximum_filter(core, 2 * FRINGE_PX + 1)
            codes = np.where(reached, REACHED, 0).astype(np.uint8)
            codes[reached & flat] |= FLAT
            codes[reached & (values == value).any(axis=0)] |= BOUND
            for fill in fills:
                codes[reached & (values == fill).all(axis=0)] |= EXACT
            write(codes[tile.crop], tile.own_column, tile.own_row)
            rest = (valid & ~reached)[tile.crop]
            reached_px += int(np.count_nonzero(reached[tile.crop]))
            rest_px += int(np.count_nonzero(rest))
            near_px += int(np.count_nonzero(rest & (distance[tile.crop] < SCENE)))
    return reached_px, rest_px, near_px


def _add_up(labelling: Labelling) -> NDArray[np.int64]:
    """Return the pixels of each component by bit, 4 x (1 + components); the first column is of no component."""
    every = len(labelling.components) + 1
    sums = np.zeros((4, every), np.int64)
    for _, places, codes in labelling.read_labels():
        for row, code in enumerate((REACHED, FLAT, BOUND, EXACT)):
            sums[row] += np.bincount(places[(codes & code) > 0], minlength=every)
    return sums


def _list_windows(labelling: Labelling, chosen: NDArray[np.int64], reader: BandReader) -> list[list[int]]:
    width, height = reader.grid.width, reader.grid.height
    cells = np.zeros((-(-height // CELL_PX), -(-width // CELL_PX)), bool)
    for top, places, _ in labelling.read_labels():
        rows, columns = np.nonzero(np.isin(places, chosen))
        cells[(rows + top) // CELL_PX, columns // CELL_PX] = True
    return [list(window) for window in list_runs(cells, CELL_PX, width, height)]
