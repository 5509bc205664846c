"""Where a result must not be trusted as elsewhere: the flags of each pixel, as a raster beside the probabilities."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.scene.reader import CELL_PX

# Flags of a pixel, added up.
EDGE, EMPTY, UNREADABLE = 1, 2, 4
# So near to nodata, or to the rim of the scene, a network sees half of what it needs.
EDGE_PX = 8
STRIP = 256


def flag_pixels(
    read: Callable[[int, int, int, int], NDArray[np.uint8]],
    grid: Grid,
    unreadable: Collection[tuple[int, int]],
    tally: Counter[str],
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (row, flags rows x width) strip by strip.

    Args:
        read: `read(column, row, width, height)` of the probability steps of the first class, 255 = nodata.
        unreadable: cells (first column, first row) of `CELL_PX` that could not be read.
        tally: gets how many pixels are `valid`, and how many of them lie at an `edge`.
    """
    for row in range(0, grid.height, STRIP):
        rows = min(STRIP, grid.height - row)
        top, bottom = max(0, row - EDGE_PX), min(grid.height, row + rows + EDGE_PX)
        empty = read(0, top, grid.width, bottom - top) == NODATA
        own = empty[row - top : row - top + rows]
        near = empty.view(np.uint8)
        for axis in (0, 1):
            near = ndimage.maximum_filter1d(near, 2 * EDGE_PX + 1, axis=axis, mode="constant")
        near = near[row - top : row - top + rows].astype(bool)
        near[:, :EDGE_PX] = near[:, -EDGE_PX:] = True
        near[: max(0, EDGE_PX - row)] = True
        near[max(0, grid.height - EDGE_PX - row) :] = True
        near &= ~own
        tally["valid"] += own.size - int(np.count_nonzero(own))
        tally["edge"] += int(np.count_nonzero(near))
        flags = near * np.uint8(EDGE) + own * np.uint8(EMPTY)
        for left, up in unreadable:
            if up < row + rows and up + CELL_PX > row:
                flags[max(0, up - row) : up + CELL_PX - row, left : left + CELL_PX] |= UNREADABLE
        yield row, flags
