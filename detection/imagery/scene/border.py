"""Mask black or white borders that the files do not declare as nodata and that lossy compression has made noisy."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.errors import TruncatedRasterError
from detection.imagery.raster.components import Labelling
from detection.imagery.raster.raster import ByteRaster
from detection.imagery.raster.tiling import cut_tiles, list_runs
from detection.imagery.scene.fill import LEAST_PX, LEAST_SHARE, Rim, write_mask
from detection.imagery.scene.reader import BandReader

# Colours of a border, and their value before compression.
BLACK, WHITE = "black", "white"
VALUES: Final = {BLACK: 0.0, WHITE: 255.0}
# Counts by which lossy compression changes the pixels of a border, and the pixels of a border in a block with ground.
NOISE: Final = 3
FRINGE_NOISE: Final = 12
JPEG_BLOCK_PX: Final = 8  # side of a block
# Side of the window of a majority filter, so that single pixels neither form nor interrupt a border.
MAJORITY_PX: Final = 5
# Components with fewer pixels are no borders.
LEAST_BODY_PX: Final = 400
# At least these shares of the pixels of a border are within the noise, and have the exact value in some band: noise
# around black is cut off at 0, the shades of water are not.
LEAST_FLAT_SHARE: Final = 0.8
LEAST_BOUND_SHARE: Final = 0.25
# At most this share of the other pixels may be within this many counts of the value of the border.
NEAR: Final = 24
MOST_NEAR_SHARE: Final = 0.05
# If a smaller share of the pixels within the noise differs from the fill values, the scene was not compressed, and
# `fill.mask_fills` has masked the border.
LEAST_NOISY_SHARE: Final = 0.005
# Pixels that may be border or ground are reported if they are at least this share of the scene.
REPORTED_SHARE: Final = 0.01
TILE_PX: Final = 512
HALO_PX: Final = 16
CELL_PX: Final = 16  # side of the cells in which doubtful pixels are reported
# Bits of a pixel that may belong to a border: CANDIDATE is always set; FLAT: it is within the noise; BOUND: it has the
# value of the border in some band; EXACT: it has a fill value in all bands.
CANDIDATE, FLAT, BOUND, EXACT = 1, 2, 4, 8


class Border(NamedTuple):
    """The borders of one colour in a scene."""

    colour: str  # black or white
    share: float  # share of all pixels that were masked
    left_share: float  # share of all pixels that may be border, but were not masked because they may be ground
    left: list[list[int]]  # windows (column, row, width, height) of whole cells that contain such pixels


def mask_borders(reader: BandReader, rim: Rim, work: Path, fills: tuple[float, ...] = ()) -> list[Border]:
    """Mask the noisy borders of a scene, and return them.

    A border is a large connected area at the edge of the scene. It is within a few counts of 0 (or, in 8 bits, of 255)
    in every band, its noise is cut off at that value, and it reaches two sides that meet. Hardly any other pixel of the
    scene is nearly as dark (or bright). If a condition is not met, the pixels stay ground. Scenes with bands of
    floating-point numbers are not examined.

    Args:
        reader: the bands of the model; the masks are added to it.
        rim: the outermost pixels; see `fill.read_rim`.
        work: folder for the masks.
        fills: fill values that `fill.mask_fills` has masked.
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
        border = _mask_border(reader, colour, work, fills)
        if border is not None:
            borders.append(border)
    return borders


def list_doubtful(borders: Iterable[Mapping[str, Any]]) -> list[tuple[int, int, int, int]]:
    """Return the windows of pixels that may be a border but stay ground, from the borders of a record.

    White borders are left out: such bright pixels are often clouds, which are found in another way.
    """
    windows: list[tuple[int, int, int, int]] = []
    for border in borders:
        if border["colour"] == BLACK and border["left_share"] >= REPORTED_SHARE:
            windows += [(column, row, width, height) for column, row, width, height in border.get("left", ())]
    return windows


def _measure_distance(values: NDArray[np.float32], value: float) -> NDArray[np.float32]:
    """Return the greatest difference of any band (bands x ...) from a value."""
    return np.asarray(np.abs(values - np.float32(value)).max(axis=0))


def _mask_border(reader: BandReader, colour: str, work: Path, fills: tuple[float, ...]) -> Border | None:
    grid = reader.grid
    drawn = ByteRaster(work / f"{colour}.tif", grid, nodata=None)
    candidate_px, other_px, near_px = _draw_candidates(reader, VALUES[colour], drawn, fills)
    with drawn.reading() as read:
        labelling = Labelling(read, grid.width, grid.height, CANDIDATE)
        counts = _count_bits(labelling)
        sides = {
            label: component.touches_sides(grid.width, grid.height)
            for label, component in enumerate(labelling.components, start=1)
            if component.pixels >= LEAST_BODY_PX
        }
        at_edge = [label for label, touched_sides in sides.items() if any(touched_sides)]
        pixels, flat, bound, exact = counts[:, at_edge]
        if flat.sum() - exact.sum() < max(1, LEAST_NOISY_SHARE * flat.sum()):
            return None
        inner_px = candidate_px - int(pixels.sum())  # as dark (bright) as a border, but not at the edge
        is_flat = (flat >= LEAST_FLAT_SHARE * pixels) & (bound >= LEAST_BOUND_SHARE * pixels)
        flat_sides = np.array([sides[label] for label in at_edge])[is_flat]
        at_corner = any((left or right) and (top or bottom) for left, top, right, bottom in flat_sides)
        is_border = is_flat & at_corner & (near_px + inner_px <= MOST_NEAR_SHARE * (other_px + inner_px))
        labels = np.array(at_edge)
        if is_border.any():
            reader.add_mask(write_mask(labelling, labels[is_border], work / f"{colour}-border.tif", reader))
        left = [] if is_border.all() else _list_windows(labelling, labels[~is_border], reader)
    scene_px = grid.width * grid.height
    return Border(
        colour,
        share=float(pixels[is_border].sum()) / scene_px,
        left_share=float(pixels[~is_border].sum()) / scene_px,
        left=left,
    )


def _draw_candidates(
    reader: BandReader, value: float, target: ByteRaster, fills: tuple[float, ...]
) -> tuple[int, int, int]:
    """Write the bits of the pixels that may belong to a border.

    Returns:
        The numbers of these pixels, of the other valid pixels, and of the others that are near to the value.
    """
    candidate_px = other_px = near_px = 0
    grid = reader.grid
    with target.writing() as write:
        for tile in cut_tiles(grid.width, grid.height, TILE_PX, HALO_PX):
            try:
                values, valid = reader.read_spectral(tile.read_column, tile.read_row, tile.read_width, tile.read_height)
            except TruncatedRasterError:  # `BandReader.read` reports it
                write(np.zeros((tile.own_height, tile.own_width), np.uint8), tile.own_column, tile.own_row)
                continue
            distance = np.where(valid, _measure_distance(values, value), np.float32(np.inf))
            flat = distance <= NOISE
            core = ndimage.uniform_filter(flat.astype(np.float32), MAJORITY_PX, mode="nearest") > 0.5
            is_candidate = (distance <= FRINGE_NOISE) & ndimage.maximum_filter(core, 2 * JPEG_BLOCK_PX + 1)
            codes = np.where(is_candidate, CANDIDATE, 0).astype(np.uint8)
            codes[is_candidate & flat] |= FLAT
            codes[is_candidate & (values == value).any(axis=0)] |= BOUND
            for fill in fills:
                codes[is_candidate & (values == fill).all(axis=0)] |= EXACT
            write(codes[tile.crop], tile.own_column, tile.own_row)
            is_other = (valid & ~is_candidate)[tile.crop]
            candidate_px += int(np.count_nonzero(is_candidate[tile.crop]))
            other_px += int(np.count_nonzero(is_other))
            near_px += int(np.count_nonzero(is_other & (distance[tile.crop] < NEAR)))
    return candidate_px, other_px, near_px


def _count_bits(labelling: Labelling) -> NDArray[np.int64]:
    """Return the number of pixels with each bit in each component, 4 x (1 + components).

    The first column contains the pixels of no component, so that a label is the index of its column.
    """
    columns = len(labelling.components) + 1
    counts = np.zeros((4, columns), np.int64)
    for _, labels, codes in labelling.read_labels():
        for row, bit in enumerate((CANDIDATE, FLAT, BOUND, EXACT)):
            counts[row] += np.bincount(labels[(codes & bit) > 0], minlength=columns)
    return counts


def _list_windows(labelling: Labelling, chosen: NDArray[np.int64], reader: BandReader) -> list[list[int]]:
    width, height = reader.grid.width, reader.grid.height
    cells = np.zeros((-(-height // CELL_PX), -(-width // CELL_PX)), bool)
    for top, labels, _ in labelling.read_labels():
        rows, columns = np.nonzero(np.isin(labels, chosen))
        cells[(rows + top) // CELL_PX, columns // CELL_PX] = True
    return [list(window) for window in list_runs(cells, CELL_PX, width, height)]
