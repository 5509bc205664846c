"""Read the optional bands of a scene on the grid on which a network reads the scene."""

import numpy as np
from numpy.typing import NDArray

from detection.imagery.optional_bands import encode_optional_bands
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.terrain import TerrainReader
from detection.imagery.scene.resized import Pixels, resample


class OptionalBandReader:
    """Compute the channels of optional bands from the terrain of a scene.

    Args:
        terrain: terrain on the grid of the scene.
        names: names of the bands, keys of `optional_bands.UNITS`.
        scene_grid: the grid of the scene.
        network_grid: the grid on which the network reads the scene.
    """

    def __init__(self, terrain: TerrainReader, names: tuple[str, ...], scene_grid: Grid, network_grid: Grid) -> None:
        self._terrain = terrain
        self._names = names
        self._scene_grid = scene_grid
        self._network_grid = network_grid

    def read(self, column: int, row: int, width: int, height: int) -> NDArray[np.float32]:
        """Return the channels 2K x height x width of a window; see `encode_optional_bands`."""
        window = column, row, width, height
        if self._network_grid is self._scene_grid:
            values, is_known = self._read_terrain(*window)
        else:
            values, is_known = resample(self._read_terrain, self._scene_grid, self._network_grid, window)
        return encode_optional_bands(np.where(is_known, values, np.float32(np.nan)), self._names)

    def _read_terrain(self, column: int, row: int, width: int, height: int) -> Pixels:
        fields, is_known = self._terrain.read(column, row, width, height)
        return np.stack([fields[name] for name in self._names]), is_known
