"""Drawn radar images of one ground: Gamma speckle on a patchwork of brightness, with discs that changed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detection.imagery.raster.grid import Grid, grid_around
from detection.imagery.raster.raster import write_geotiff

LOOKS = 4.4  # of Sentinel-1 GRD at 10 m
PIXEL_M = 10.0
Disc = tuple[float, float, float, float]  # column, row, radius in pixels, change in dB


class Ground:
    """A square of ground, `size` pixels wide; the same seed draws the same one."""

    def __init__(self, size: int, seed: int = 1, looks: float = LOOKS) -> None:
        self.grid: Grid = grid_around(11.0, 46.0, size, PIXEL_M)
        self.size, self.looks, self._rng = size, looks, np.random.default_rng(seed)
        fields = self._rng.normal(size=(-(-size // 30),) * 2)
        self.power = 0.1 * np.exp(0.5 * np.kron(fields, np.ones((30, 30)))[:size, :size])

    def truth(self, discs: Sequence[Disc]) -> np.ndarray:
        """Change of each pixel in dB."""
        rows, columns = np.mgrid[: self.size, : self.size]
        change = np.zeros(self.power.shape)
        for column, row, radius, decibels in discs:
            change[(columns - column) ** 2 + (rows - row) ** 2 < radius**2] = decibels
        return change

    def draw(self, discs: Sequence[Disc] = ()) -> np.ndarray:
        """One image, linear power."""
        speckle = self._rng.gamma(self.looks, 1 / self.looks, self.power.shape)
        return (self.power * 10 ** (self.truth(discs) / 10) * speckle).astype(np.float32)

    def write(self, path: Path, values: np.ndarray, **tags: str) -> Path:
        """Write an image as a GeoTIFF, with tags."""
        import rasterio

        write_geotiff(path, values[None], self.grid)
        with rasterio.open(path, "r+") as target:
            target.update_tags(**tags)
        return path
