"""Read the image of a date on the grid of the newer date."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.imagery.change.records import StoredDate
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, strips
from detection.imagery.scene.registration import Edges
from detection.imagery.scene.scene import Scene, read_scene
from detection.imagery.scene.white import COLOURS

# Medians, white ground and built ground are measured on about this many pixels of an image.
SAMPLE_PX = 400_000

Block = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Values, and where they are valid."""


def open_scene(date: StoredDate) -> Scene:
    """Return the scene of a date, with the elevation model that the date was read with.

    Raises:
        ImageryError: the files of the scene are missing.
    """
    scene = read_scene(Path(date.scene_path), date.acquired_at)
    return replace(scene, dem=Path(date.dem)) if date.dem else scene


class DateImage(ExitStack):
    """The image of one date on a grid; use as a context manager.

    Its files are opened when they are first read, so that a missing image raises an error only where it is needed.
    """

    def __init__(self, date: StoredDate, grid: Grid) -> None:
        super().__init__()
        self.date = date
        self.grid = grid
        self._layers: dict[str, Layer] = {}
        self._samples: dict[str, Block] = {}
        # Edges of each band. They are computed once, although several older images are aligned with this one.
        self.edges: dict[str, Edges] = {}

    @cached_property
    def scene(self) -> Scene:
        """The scene of the date; see `open_scene`."""
        return open_scene(self.date)

    def read(self, name: str, column: int, row: int, width: int, height: int) -> Block:
        """Read a band in a window."""
        return self._layer(name).read(column, row, width, height)

    def sample(self, name: str) -> Block:
        """Read about `SAMPLE_PX` pixels of a band: every n-th row and column of each strip."""
        if name not in self._samples:
            step = max(1, int(np.sqrt(self.grid.width * self.grid.height / SAMPLE_PX)))
            parts = [self._layer(name).read(*box, step) for box in strips(self.grid)]
            values = np.concatenate([part for part, _ in parts])
            valid = np.concatenate([part for _, part in parts])
            self._samples[name] = values, valid
        return self._samples[name]

    def read_colours(self, column: int, row: int, width: int, height: int) -> Block:
        """Read red, green and blue of a window, 3 x height x width, valid where all of them are."""
        return _stack([self.read(name, column, row, width, height) for name in COLOURS])

    def sample_colours(self) -> Block:
        """Read red, green and blue as `sample` does, 3 x rows x columns, valid where all of them are."""
        return _stack([self.sample(name) for name in COLOURS])

    def _layer(self, name: str) -> Layer:
        if name not in self._layers:
            band = self.scene.bands[name]
            # Images are compared by ratios, so the gain does not matter and the offset is given in counts.
            offset = self.scene.offset / self.scene.gain
            layer = Layer(band.path, self.grid, band.index, nodata=0.0, offset=offset)
            self._layers[name] = self.enter_context(layer)
        return self._layers[name]


def _stack(blocks: Sequence[Block]) -> Block:
    values = np.stack([block for block, _ in blocks])
    valid = np.logical_and.reduce([block for _, block in blocks])
    return values, valid
