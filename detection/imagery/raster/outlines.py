"""Outlines of pixels: polygons along the sides of the true ones, each one valid, by arrays and not one by one.

Ours for a third of the time: 1,665 outlines in 11 ms, 34 ms by `rasterio.features` (the same: `test_outlines.py`).
"""

from itertools import chain
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.raster.components import FOUR


def outline_pixels(mask: NDArray[np.bool_], origin: tuple[int, int] = (0, 0)) -> list[shapely.Polygon]:
    """Outline the true pixels: a polygon in (column, row) for all that hang together by their sides.

    The corners of all outlines lie on the lattice between the pixels; sorted along a row of it they are joined two by
    two by sides of the outlines, and so they are along a column. Where two pixels touch at a corner only, two outlines
    pass, or one twice: pixels of one polygon are taken as joined there (a hole may touch the exterior in a point, an
    exterior not itself), those of two polygons as parted.

    Args:
        mask: H x W.
        origin: column and row of its first pixel.

    Returns valid polygons, in the order of their first pixel.
    """
    labels, number = ndimage.label(mask, structure=FOUR)
    cells = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), labels.dtype)  # `np.pad` costs as much as all the rest
    cells[1:-1, 1:-1] = labels
    nw, ne, sw, se = cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]
    filled = cells > 0
    once = filled[:-1, :-1] ^ filled[:-1, 1:] ^ filled[1:, :-1] ^ filled[1:, 1:]
    touching = (
        (filled[:-1, :-1] == filled[1:, 1:])
        & (filled[:-1, 1:] == filled[1:, :-1])
        & (filled[:-1, :-1] != filled[:-1, 1:])
    )
    rows, columns = np.nonzero(once | touching)
    twice = touching[rows, columns]
    # the second passage at such a corner, counted from the left, is the lower one too, or else the upper one
    falling = nw[rows, columns] > 0
    same = np.where(falling, nw[rows, columns] == se[rows, columns], ne[rows, columns] == sw[rows, columns])
    crossed = twice & (falling == same)
    rows, columns, crossed = (np.repeat(values, 1 + twice) for values in (rows, columns, crossed))
    second = np.zeros(len(rows), bool)
    second[1:] = (rows[1:] == rows[:-1]) & (columns[1:] == columns[:-1])
    order = np.lexsort((second ^ crossed, rows, columns))
    above_below = np.empty(len(rows), np.intp)
    above_below[order[0::2]], above_below[order[1::2]] = order[1::2], order[0::2]
    exteriors: list[list[int]] = [[]] * number
    holes: list[list[list[int]]] = [[] for _ in range(number)]
    for ring in _list_rings(above_below.tolist()):
        # the ring's first corner is its highest, and there its leftmost: it begins to the right, along its upper side
        column, row = columns[ring[0]], rows[ring[0]]
        below, above = int(se[row, column]), int(ne[row, column])
        if below:
            exteriors[below - 1] = ring
        else:
            holes[above - 1].append(ring)
    if not number:
        return []
    every = [ring for exterior, own in zip(exteriors, holes, strict=True) for ring in (exterior, *own)]
    places = np.stack([columns + origin[0], rows + origin[1]], axis=1)[list(chain.from_iterable(every))]
    drawn: Any = shapely.linearrings(places, indices=np.repeat(np.arange(len(every)), [len(ring) for ring in every]))
    outlines: Any = shapely.polygons(drawn, indices=np.repeat(np.arange(number), [1 + len(own) for own in holes]))
    return list(outlines)


def _list_rings(above_below: list[int]) -> list[list[int]]:
    """Follow corners sideways (to the neighbour in the order of rows: 0 and 1, 2 and 3, ...) and up or down in turn."""
    seen = bytearray(len(above_below))
    rings: list[list[int]] = []
    for first in range(0, len(above_below), 2):
        if seen[first]:
            continue
        ring: list[int] = []
        corner = first
        while not seen[corner]:
            across = corner ^ 1
            seen[corner] = seen[across] = 1
            ring += (corner, across)
            corner = above_below[across]
        rings.append(ring)
    return rings
