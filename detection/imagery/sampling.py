"""What lies under a footprint's pixels: slope and elevation, a susceptibility map, shadow."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.reader import BandReader
from detection.imagery.terrain import TerrainReader


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
        self._terrain, self._prior, self._scene = terrain, prior, scene

    def sample(self, sums: dict[str, Any], column: int, row: int, pixels: NDArray[np.bool_]) -> None:
        """Add the pixels of a window, whose first one is (column, row), to the sums."""
        height, width = pixels.shape
        window = column, row, width, height
        if self._terrain is not None:
            fields, known = self._terrain.read(*window)
            under = pixels & known
            if under.any():
                _add(sums, "slope", fields["slope"][under])
                heights = fields["dem"][under]
                sums["low"] = min(sums.get("low", np.inf), float(heights.min()))
                sums["high"] = max(sums.get("high", -np.inf), float(heights.max()))
        if self._prior is not None:
            values, valid = self._prior.read(*window)
            _add(sums, "prior", values[0][pixels & valid])
        if self._scene is not None and (shadow := self._scene.read_shadow(*window)) is not None:
            sums["shadow"] = sums.get("shadow", 0) + int(np.count_nonzero(shadow & pixels))

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


def _add(sums: dict[str, Any], name: str, values: NDArray[np.floating]) -> None:
    total, count = sums.get(name, (0.0, 0))
    sums[name] = total + float(values.sum(dtype=np.float64)), count + int(values.size)


def _mean(sums: dict[str, Any], name: str, digits: int) -> float | None:
    total, count = sums.get(name, (0.0, 0))
    return round(total / count, digits) if count else None
