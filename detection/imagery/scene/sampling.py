"""What lies under a footprint's pixels: slope and elevation, a susceptibility map, shadow."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detection.imagery.raster.components import Rows
from detection.imagery.raster.terrain import TerrainReader
from detection.imagery.scene.reader import BandReader


@dataclass(slots=True)
class Sums:
    """Sums over the pixels of a footprint: each with the number of pixels that have a value."""

    slope_deg: tuple[float, int] = (0.0, 0)
    prior: tuple[float, int] = (0.0, 0)
    low_m: float = np.inf
    high_m: float = -np.inf
    shadow_px: int = 0


class TerrainUnderFootprint(NamedTuple):
    """Terrain and prior under the pixels of a footprint; None where they are not known."""

    mean_slope_deg: float | None
    min_elevation_m: float | None
    max_elevation_m: float | None
    prior: float | None
    shadow_share: float | None


class Sampler:
    """Sums over the pixels of a footprint, added up window by window."""

    def __init__(
        self, terrain: TerrainReader | None = None, prior: BandReader | None = None, scene: BandReader | None = None
    ) -> None:
        self._terrain = self._prior = self._shadow = None
        if terrain is not None:
            self._terrain = Rows(partial(_read_terrain, terrain), terrain.source.width, terrain.source.height)
        if prior is not None:
            self._prior = Rows(partial(_read_prior, prior), prior.grid.width, prior.grid.height)
        if scene is not None and scene.tells_shadow:
            self._shadow = Rows(scene.read_shadow, scene.grid.width, scene.grid.height)

    def sample(self, sums: Sums, column: int, row: int, pixels: NDArray[np.bool_]) -> None:
        """Add the pixels of a window, whose first one is (column, row), to the sums."""
        height, width = pixels.shape
        window = column, row, width, height
        if self._terrain is not None:
            slopes, heights = (_known(field[pixels]) for field in self._terrain(*window))
            if heights.size:
                sums.slope_deg = _add(sums.slope_deg, slopes)
                sums.low_m = min(sums.low_m, float(heights.min()))
                sums.high_m = max(sums.high_m, float(heights.max()))
        if self._prior is not None:
            sums.prior = _add(sums.prior, _known(self._prior(*window)[pixels]))
        if self._shadow is not None:
            sums.shadow_px += int(np.count_nonzero(self._shadow(*window) & pixels))

    def describe(self, sums: Sums, pixels: int) -> TerrainUnderFootprint:
        """What lies under so many pixels."""
        return TerrainUnderFootprint(
            mean_slope_deg=_mean(sums.slope_deg, 2),
            min_elevation_m=round(sums.low_m, 1) if np.isfinite(sums.low_m) else None,
            max_elevation_m=round(sums.high_m, 1) if np.isfinite(sums.low_m) else None,
            prior=_mean(sums.prior, 4),
            shadow_share=None if self._shadow is None else round(sums.shadow_px / pixels, 4),
        )


NO_SAMPLER = Sampler()


def _read_terrain(terrain: TerrainReader, *window: int) -> NDArray[np.float32]:
    fields, known = terrain.read(*window)
    return np.where(known, np.stack([fields["slope"], fields["dem"]]), np.float32(np.nan))


def _read_prior(prior: BandReader, *window: int) -> NDArray[np.float32]:
    values, valid = prior.read(*window)
    return np.where(valid, values[0], np.float32(np.nan))


def _known(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values[~np.isnan(values)]


def _add(known: tuple[float, int], values: NDArray[np.floating]) -> tuple[float, int]:
    total, count = known
    return total + float(values.sum(dtype=np.float64)), count + int(values.size)


def _mean(known: tuple[float, int], digits: int) -> float | None:
    total, count = known
    return round(total / count, digits) if count else None
