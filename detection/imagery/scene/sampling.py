"""What lies under a footprint's pixels: slope and elevation, a susceptibility map, shadow."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.raster.components import Rows
from detection.imagery.raster.terrain import TerrainReader
from detection.imagery.scene.reader import BandReader


class Sampler:
    """Sums over the pixels of a footprint, added up window by window.

    Args:
        terrain: elevation and slope, or None.
        prior: reader of the susceptibility on the scene's grid, or None.
        scene: reader of the scene, for its shadow flags, or None.
    """

    def __init__(
        self, terrain: TerrainReader | None = None, prior: BandReader | None = None, scene: BandReader | None = None
    ) -> None:
        self._terrain = self._prior = self._shadow = None
        if terrain is not None:
            self._terrain = Rows(partial(_read_terrain, terrain), *_size(terrain.source))
        if prior is not None:
            self._prior = Rows(partial(_read_prior, prior), *_size(prior.grid))
        if scene is not None and scene.tells_shadow:
            self._shadow = Rows(scene.read_shadow, *_size(scene.grid))

    def sample(self, sums: dict[str, Any], column: int, row: int, pixels: NDArray[np.bool_]) -> None:
        """Add the pixels of a window, whose first one is (column, row), to the sums."""
        height, width = pixels.shape
        window = column, row, width, height
        if self._terrain is not None:
            slopes, heights = (_known(field[pixels]) for field in self._terrain(*window))
            if heights.size:
                _add(sums, "slope", slopes)
                sums["low"] = min(sums.get("low", np.inf), float(heights.min()))
                sums["high"] = max(sums.get("high", -np.inf), float(heights.max()))
        if self._prior is not None:
            _add(sums, "prior", _known(self._prior(*window)[pixels]))
        if self._shadow is not None:
            sums["shadow"] = sums.get("shadow", 0) + int(np.count_nonzero(self._shadow(*window) & pixels))

    def describe(self, sums: dict[str, Any], pixels: int) -> dict[str, Any]:
        """Return mean_slope_deg, min_elevation_m, max_elevation_m, prior and shadow_share; None where unknown."""
        return {
            "mean_slope_deg": _mean(sums, "slope", 2),
            "min_elevation_m": round(sums["low"], 1) if "low" in sums else None,
            "max_elevation_m": round(sums["high"], 1) if "high" in sums else None,
            "prior": _mean(sums, "prior", 4),
            "shadow_share": round(sums["shadow"] / pixels, 4) if "shadow" in sums else None,
        }


NO_SAMPLER = Sampler()


def _size(raster: Any) -> tuple[int, int]:
    return raster.width, raster.height


def _read_terrain(terrain: TerrainReader, *window: int) -> NDArray[np.float32]:
    """Slope and elevation, NaN where they are not known."""
    fields, known = terrain.read(*window)
    return np.where(known, np.stack([fields["slope"], fields["dem"]]), np.float32(np.nan))


def _read_prior(prior: BandReader, *window: int) -> NDArray[np.float32]:
    values, valid = prior.read(*window)
    return np.where(valid, values[0], np.float32(np.nan))


def _known(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values[~np.isnan(values)]


def _add(sums: dict[str, Any], name: str, values: NDArray[np.floating]) -> None:
    total, count = sums.get(name, (0.0, 0))
    sums[name] = total + float(values.sum(dtype=np.float64)), count + int(values.size)


def _mean(sums: dict[str, Any], name: str, digits: int) -> float | None:
    total, count = sums.get(name, (0.0, 0))
    return round(total / count, digits) if count else None
