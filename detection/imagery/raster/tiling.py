"""Divide a scene into tiles: each pixel is owned by one tile, and results do not depend on the division."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRIDE = 16  # of most networks; see `cut_tiles`


@dataclass(frozen=True, slots=True)
class Tile:
    """The window that a tile owns, and the wider window that is read for it, in pixels of the scene.

    The owned window lies within the read window, and the read window within the scene.
    """

    own_column: int
    own_row: int
    own_width: int
    own_height: int
    read_column: int
    read_row: int
    read_width: int
    read_height: int

    @property
    def crop(self) -> tuple[slice, slice]:
        """Rows and columns of the owned window inside of the read window."""
        top, left = self.own_row - self.read_row, self.own_column - self.read_column
        return slice(top, top + self.own_height), slice(left, left + self.own_width)


def cut_tiles(width: int, height: int, tile: int = 512, halo: int = 144, stride: int = STRIDE) -> Iterator[Tile]:
    """Yield the tiles of a scene, row by row.

    The origins of owned and read windows are multiples of `stride`, so that the network pools the same pixels as in one
    pass over the whole scene. If the halo is as large as the receptive field, the results are also the same.

    Args:
        tile: side of the owned windows.
        halo: pixels that are read around an owned window, as far as the scene has them.
        stride: factor by which the deepest level of the network is downsampled.

    >>> [(t.own_column, t.own_width, t.read_column, t.read_width) for t in cut_tiles(40, 16, tile=16, halo=16)]
    [(0, 16, 0, 32), (16, 16, 0, 40), (32, 8, 16, 24)]
    """
    if tile < stride or tile % stride or halo < 0 or halo % stride:
        raise ValueError(f"tile and halo must be multiples of {stride}, not {tile} and {halo}")
    for row in range(0, height, tile):
        for column in range(0, width, tile):
            own_width, own_height = min(tile, width - column), min(tile, height - row)
            left, top = max(0, column - halo), max(0, row - halo)
            right, bottom = min(width, column + own_width + halo), min(height, row + own_height + halo)
            yield Tile(column, row, own_width, own_height, left, top, right - left, bottom - top)


def list_runs(cells: NDArray[np.bool_], side: int, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Return windows (column, row, width, height) of marked cells; neighbouring cells in a row share a window.

    Args:
        cells: which cells of the scene are marked.
        side: of a cell, pixels.
        width: of the scene, pixels.
        height: of the scene, pixels.

    >>> list_runs(np.array([[True, True, False], [False, False, True]]), 16, 40, 30)
    [(0, 0, 32, 16), (32, 16, 8, 14)]
    """
    windows = []
    framed = np.pad(cells.astype(np.int8), ((0, 0), (1, 1)))
    for number, row in enumerate(framed):
        top = number * side
        ends = np.flatnonzero(np.diff(row)) * side
        for left, right in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=True):
            windows.append((left, top, min(right, width) - left, min(side, height - top)))
    return windows


def compute_blend_weights(tile: int) -> NDArray[np.float32]:
    """Return weights, tile x tile, for blending tiles that overlap by half: they add up to 1 at each pixel.

    >>> weights = compute_blend_weights(8)
    >>> float((weights[:4, :4] + weights[4:, :4] + weights[:4, 4:] + weights[4:, 4:]).round(5).min())
    1.0
    """
    fade = np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2
    return np.asarray(np.outer(fade, fade), np.float32)
