"""Where a result must not be trusted as elsewhere: the flags of each pixel, as a raster beside the probabilities."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.footprints.records import QualityShare
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.scene.reader import CELL_PX

# Flags of a pixel, added up.
EDGE, EMPTY, UNREADABLE = 1, 2, 4
# So near to nodata, or to the rim of the scene, a network sees half of what it needs.
EDGE_PX = 8
STRIP = 256


@dataclass(slots=True)
class QualityCounts:
    """What was counted over the strips."""

    valid: int = 0  # pixels with a probability
    edge: int = 0  # of them, those at an edge

    def to_json(self) -> QualityShare:
        """Return what stands in the record."""
        share = round(self.edge / self.valid, 6) if self.valid else 0.0
        return {"edge_px": EDGE_PX, "edge_share": share}


def flag_pixels(
    read: Callable[[int, int, int, int], NDArray[np.uint8]],
    grid: Grid,
    unreadable: Collection[tuple[int, int]],
    tally: QualityCounts,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (row, flags rows x width) strip by strip.

    Args:
        read: `read(column, row, width, height)` of the probability steps of the first class, 255 = nodata.
        unreadable: cells (first column, first row) of `CELL_PX` that could not be read.
    """
    for row in range(0, grid.height, STRIP):
        rows = min(STRIP, grid.height - row)
        top, bottom = max(0, row - EDGE_PX), min(grid.height, row + rows + EDGE_PX)
        empty = read(0, top, grid.width, bottom - top) == NODATA
        own = empty[row - top : row - top + rows]
        near = _come_near(empty)[row - top : row - top + rows] if empty.any() else np.zeros_like(own)
        near[:, :EDGE_PX] = near[:, -EDGE_PX:] = True
        near[: max(0, EDGE_PX - row)] = True
        near[max(0, grid.height - EDGE_PX - row) :] = True
        near &= ~own
        tally.valid += own.size - int(np.count_nonzero(own))
        tally.edge += int(np.count_nonzero(near))
        flags = near * np.uint8(EDGE) + own * np.uint8(EMPTY)
        for left, up in unreadable:
            if up < row + rows and up + CELL_PX > row:
                flags[max(0, up - row) : up + CELL_PX - row, left : left + CELL_PX] |= UNREADABLE
        yield row, flags


def _come_near(empty: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels within `EDGE_PX` rows and columns of one that is empty."""
    near = empty.view(np.uint8)
    for axis in (0, 1):
        near = ndimage.maximum_filter1d(near, 2 * EDGE_PX + 1, axis=axis, mode="constant")
    return near.astype(bool)
