"""Brings driver channels to a common scale, fitted on the fit block, and cuts the windows a network reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats, Ints

SOURCES = ("motion", "rain", "water", "neighbours", "image", "outlook")
_CLIP = 10.0


@dataclass(frozen=True, slots=True)
class SourceScale:
    """What a network that reads drivers keeps of them; part of its recipe.

    Attributes:
        names: Channels in the order the network was built for.
        kinds: Source of each.
        centre: Mean of each on the fit block.
        scale: Standard deviation of each on the fit block; 1 where it never moved or was never known.
        off: Sources left out of the network.
    """

    names: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    off: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "names": list(self.names), "kinds": list(self.kinds), "centre": list(self.centre),
            "scale": list(self.scale), "off": list(self.off),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            tuple(data["names"]), tuple(data["kinds"]), tuple(float(v) for v in data["centre"]),
            tuple(float(v) for v in data["scale"]), tuple(data["off"]),
        )  # fmt: skip

    def cut(self, drivers: DriverRows | None, origins: Ints, window: int) -> NDArray[np.float32]:
        """The rows that end at each origin as (value, known), shape (N, W, C, 2); 0 and 0 where unknown."""
        if drivers is None:
            return np.zeros((origins.size, window, len(self.names), 2), dtype=np.float32)
        return self.scaled(self.raw(drivers, origins, window))

    def raw(self, drivers: DriverRows, origins: Ints, window: int) -> Floats:
        """The same rows in the units of the drivers, shape (N, W, C), NaN where unknown."""
        rows = origins[:, None] + np.arange(1 - window, 1)
        found: Floats = drivers.in_order(self.names)[np.maximum(rows, 0)]
        found[rows < 0] = np.nan
        return found

    def scaled(self, raw: Floats) -> NDArray[np.float32]:
        """(N, W, C) in units of the drivers -> (N, W, C, 2) as a network reads it."""
        known = np.isfinite(raw)
        values = (np.where(known, raw, 0.0) - np.asarray(self.centre)) / np.asarray(self.scale)
        values = np.where(known, np.clip(values, -_CLIP, _CLIP), 0.0)
        return np.stack([values, known], axis=-1).astype(np.float32)


def fit_scale(drivers: DriverRows | None, rows: int, off: tuple[str, ...] = ()) -> SourceScale:
    """Mean and spread of each channel over its first `rows` rows; channels of sources that are off are left out."""
    if drivers is None:
        return SourceScale(off=off)
    kept = drivers.without(off)
    centre, scale = [], []
    for column in kept.values[:rows].T:
        known = column[np.isfinite(column)]
        spread = float(known.std()) if known.size else 0.0
        centre.append(float(known.mean()) if known.size else 0.0)
        scale.append(spread if spread > 0.0 else 1.0)
    return SourceScale(kept.names, kept.kinds, tuple(centre), tuple(scale), off)
