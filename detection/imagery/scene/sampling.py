"""Compute the slope, elevation, susceptibility and shadow of footprints from their pixels."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detection.imagery.raster.components import RowBuffer
from detection.imagery.raster.terrain import TerrainReader
from detection.imagery.scene.reader import BandReader


@dataclass(slots=True)
class Sums:
    """Sums over the pixels of a footprint."""

    slope_deg: tuple[float, int] = (0.0, 0)  # sum, and number of pixels with a value
    prior: tuple[float, int] = (0.0, 0)  # sum, and number of pixels with a value
    low_m: float = np.inf  # lowest elevation
    high_m: float = -np.inf  # highest elevation
    shadow_px: int = 0


class TerrainUnderFootprint(NamedTuple):
    """Terrain, susceptibility (`prior`) and shadow of a footprint; None if not available."""

    mean_slope_deg: float | None
    min_elevation_m: float | None
    max_elevation_m: float | None
    prior: float | None
    shadow_share: float | None


class Sampler:
    """Add up the values under the pixels of footprints, window by window.

    Args:
        terrain: slope and elevation.
        prior: susceptibility map, whose values are 0 to 1.
        scene: masks of shadow.
    """

    def __init__(
        self, terrain: TerrainReader | None = None, prior: BandReader | None = None, scene: BandReader | None = None
    ) -> None:
        self._terrain = self._prior = self._shadow = None
        if terrain is not None:
            self._terrain = RowBuffer(partial(_read_terrain, terrain), terrain.source.width, terrain.source.height)
        if prior is not None:
            self._prior = RowBuffer(partial(_read_prior, prior), prior.grid.width, prior.grid.height)
        if scene is not None and scene.has_shadow_mask:
            self._shadow = RowBuffer(scene.read_shadow, scene.grid.width, scene.grid.height)

    def sample(self, sums: Sums, column: int, row: int, pixels: NDArray[np.bool_]) -> None:
        """Add the values under some pixels of a window to the sums of a footprint.

        Args:
            sums: of the footprint, changed in place.
            column: of the first pixel of the window.
            row: of the first pixel of the window.
            pixels: which pixels of the window belong to the footprint, height x width.
        """
        height, width = pixels.shape
        window = column, row, width, height
        if self._terrain is not None:
            slopes, heights = (_drop_missing(field[pixels]) for field in self._terrain(*window))
            if heights.size:
                sums.slope_deg = _add(sums.slope_deg, slopes)
                sums.low_m = min(sums.low_m, float(heights.min()))
                sums.high_m = max(sums.high_m, float(heights.max()))
        if self._prior is not None:
            sums.prior = _add(sums.prior, _drop_missing(self._prior(*window)[pixels]))
        if self._shadow is not None:
            sums.shadow_px += int(np.count_nonzero(self._shadow(*window) & pixels))

    def describe(self, sums: Sums, pixels: int) -> TerrainUnderFootprint:
        """Return means, extremes and shares from the sums of a footprint with this number of pixels."""
        return TerrainUnderFootprint(
            mean_slope_deg=_mean(sums.slope_deg, 2),
            min_elevation_m=round(sums.low_m, 1) if np.isfinite(sums.low_m) else None,
            max_elevation_m=round(sums.high_m, 1) if np.isfinite(sums.low_m) else None,
            prior=_mean(sums.prior, 4),
            shadow_share=None if self._shadow is None else round(sums.shadow_px / pixels, 4),
        )


NO_SAMPLER = Sampler()


def _read_terrain(terrain: TerrainReader, *window: int) -> NDArray[np.float32]:
    fields, valid = terrain.read(*window)
    return np.where(valid, np.stack([fields["slope"], fields["dem"]]), np.float32(np.nan))


def _read_prior(prior: BandReader, *window: int) -> NDArray[np.float32]:
    values, valid = prior.read(*window)
    return np.where(valid, values[0], np.float32(np.nan))


def _drop_missing(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values[~np.isnan(values)]


def _add(sum_and_count: tuple[float, int], values: NDArray[np.floating]) -> tuple[float, int]:
    total, count = sum_and_count
    return total + float(values.sum(dtype=np.float64)), count + int(values.size)


def _mean(sum_and_count: tuple[float, int], digits: int) -> float | None:
    total, count = sum_and_count
    return round(total / count, digits) if count else None
