"""Middle lines of what is thin, in a raster that is read tile by tile; memory goes with the lines, not the raster."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.raster.components import FOUR, NODATA, Read

WIDEST_PX: Final = 64  # what is wider is not thin
CORNER_PX: Final = 48  # of what is too wide, its corners lie so far from where it is
HOLE_PX: Final = 6  # holes of fewer pixels are filled: around each there would be a loop
# A tile owns its middle. How far a pixel of the skeleton can see: what is too wide, and then the thinning.
TILE_PX, HALO_PX = 1024, 160
# Neighbours clockwise from north: row, column.
AROUND: Final = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Pixels of middle lines, in the order of their rows, then columns."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    areas_px: NDArray[np.float64]  # how many pixels of the body lie nearest to each
    reaches: NDArray[np.float64]  # how far the rim is, in the unit of the pixel's sides
    steps: NDArray[np.uint8]  # stored there


def _make_tables() -> NDArray[np.bool_]:
    """Which pixels go, by their eight neighbours as bits, in both turns of Guo and Hall 1989."""
    n = [(np.arange(256) >> bit & 1).astype(bool) for bit in range(8)]
    crossings = sum((~n[k] & (n[k + 1] | n[(k + 2) % 8])).astype(int) for k in (0, 2, 4, 6))
    pairs = [sum((n[k % 8] | n[(k + 1) % 8]).astype(int) for k in range(first, first + 8, 2)) for first in (7, 0)]
    least = np.minimum(*pairs)
    turns = (n[4] | n[5] | ~n[7]) & n[6], (n[0] | n[1] | ~n[3]) & n[2]
    return np.stack([(crossings == 1) & (least >= 2) & (least <= 3) & ~turn for turn in turns])


_GOES: Final = _make_tables()


def thin(body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin a body to lines of one pixel that hang together as it does (Guo and Hall 1989)."""
    padded = np.pad(body, 1)
    flat, width = padded.ravel(), padded.shape[1]
    steps = [row * width + column for row, column in AROUND]
    places, quiet, turn = np.flatnonzero(flat), 0, 0
    while quiet < 2:
        code = np.zeros(len(places), np.int64)
        for bit, step in enumerate(steps):
            code |= flat[places + step].astype(np.int64) << bit
        goes = _GOES[turn][code]
        flat[places[goes]] = False
        places = places[~goes]
        quiet, turn = 0 if goes.any() else quiet + 1, 1 - turn
    return np.asarray(padded[1:-1, 1:-1])


def find_skeleton(
    read: Read, size: tuple[int, int], least: int, sides: tuple[float, float] = (1.0, 1.0), tile_px: int = TILE_PX
) -> Skeleton:
    """Find the middle lines of `step >= least`; the size of the tiles changes nothing.

    Args:
        read: `read(column, row, width, height)` of stored steps, 255 = nodata.
        size: columns and rows of the raster.
        sides: of a pixel, its width and its height.
    """
    width, height = size
    found = []
    for top in range(0, height, tile_px):
        for left in range(0, width, tile_px):
            first, start = max(0, left - HALO_PX), max(0, top - HALO_PX)
            steps = read(
                first,
                start,
                min(width, left + tile_px + HALO_PX) - first,
                min(height, top + tile_px + HALO_PX) - start,
            )
            body = (steps >= least) & (steps != NODATA)
            if body.any():
                found.append(_thin_tile(body, steps, (left, top), (first, start), sides, tile_px))
    parts: list[NDArray[Any]] = [np.concatenate([one[k] for one in found]) if found else np.empty(0) for k in range(5)]
    order = np.lexsort((parts[1], parts[0]))
    rows, columns, areas, reaches, stored = (part[order] for part in parts)
    return Skeleton(rows.astype(np.int64), columns.astype(np.int64), areas, reaches, stored.astype(np.uint8))


def _thin_tile(
    body: NDArray[np.bool_],
    steps: NDArray[np.uint8],
    tile: tuple[int, int],
    window: tuple[int, int],
    sides: tuple[float, float],
    tile_px: int,
) -> list[NDArray[Any]]:
    holes, _ = ndimage.label(~body, structure=FOUR)
    small = np.bincount(holes.ravel()) < HOLE_PX
    small[0] = False
    body = body | (small[holes] & (steps != NODATA))
    deep = ndimage.distance_transform_edt(body) > WIDEST_PX / 2
    if deep.any():
        body &= ndimage.distance_transform_edt(~deep) > CORNER_PX
    lines = thin(body)
    if not lines.any():
        return [np.empty(0)] * 5
    across = sides[::-1]
    reaches = ndimage.distance_transform_edt(body, sampling=across)
    nearest = ndimage.distance_transform_edt(~lines, sampling=across, return_distances=False, return_indices=True)
    owner = nearest[0][body] * body.shape[1] + nearest[1][body]
    areas = np.bincount(owner, minlength=body.size)
    rows, columns = np.nonzero(lines)
    at_row, at_column = rows + window[1], columns + window[0]
    own = (at_row >= tile[1]) & (at_row < tile[1] + tile_px) & (at_column >= tile[0]) & (at_column < tile[0] + tile_px)
    rows, columns = rows[own], columns[own]
    counted = areas[rows * body.shape[1] + columns].astype(np.float64)
    return [at_row[own], at_column[own], counted, reaches[rows, columns], steps[rows, columns]]


def link(skeleton: Skeleton, width: int) -> NDArray[np.int64]:
    """The neighbours of each pixel, n x 8 places, clockwise from north, -1 for none.

    Neighbours at a corner count only where no other pixel lies between them.
    """
    keys = skeleton.rows * (width + 2) + skeleton.columns + 1
    found = np.full((len(keys), 8), -1, np.int64)
    for number, (row, column) in enumerate(AROUND):
        wanted = keys + row * (width + 2) + column
        place = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
        found[:, number] = np.where(keys[place] == wanted, place, -1) if len(keys) else -1
    for number in (1, 3, 5, 7):
        between = (found[:, number - 1] >= 0) | (found[:, (number + 1) % 8] >= 0)
        found[between, number] = -1
    return found
