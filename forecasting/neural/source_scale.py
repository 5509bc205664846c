"""Brings driver channels to a common scale, fitted on the fit block, and cuts the windows a network reads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forecasting.data.driver_rows import DriverRows, in_order
from forecasting.data.kinds import SEASON
from forecasting.data.series import Floats, Ints

_CLIP = 10.0


@dataclass(frozen=True, slots=True)
class SourceScale:
    """What a network that reads drivers keeps of them; part of its recipe."""

    names: tuple[str, ...] = ()  # channels in the order the network was built for
    kinds: tuple[str, ...] = ()  # source of each
    centre: tuple[float, ...] = ()  # mean of each on the fit block
    # standard deviation of each on the fit block; 1 where it never moved or was never known
    scale: tuple[float, ...] = ()
    static: tuple[str, ...] = ()  # fixed facts of a station, in the order the network was built for
    static_centre: tuple[float, ...] = ()  # mean of each over the stations
    static_scale: tuple[float, ...] = ()  # standard deviation of each over the stations; 1 where they are alike
    # mean and spread of the logarithm of the windows' scale in mm, or None where it is not read. Drivers act in mm, the
    # answer is on the scale of the window: who reads them must know it.
    motion: tuple[float, float] | None = None

    @property
    def facts(self) -> tuple[str, ...]:
        """Names of what stands beside the channels for each station."""
        return self.static if self.motion is None else ("motion_scale", *self.static)

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not read is left out."""
        left = () if self.static else ("static", "static_centre", "static_scale")
        return {name: list(one) for name, one in asdict(self).items() if one is not None and name not in left}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            tuple(data["names"]),
            tuple(data["kinds"]),
            tuple(float(v) for v in data["centre"]),
            tuple(float(v) for v in data["scale"]),
            tuple(data.get("static", ())),
            tuple(float(v) for v in data.get("static_centre", ())),
            tuple(float(v) for v in data.get("static_scale", ())),
            (float(data["motion"][0]), float(data["motion"][1])) if "motion" in data else None,
        )

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
        return _pair(raw, self.centre, self.scale)

    def place(self, drivers: DriverRows | None, scale_mm: Floats) -> NDArray[np.float32]:
        """The facts of each station as (value, known), shape (N, S, A, 2); 0 and 0 where unknown."""
        raw = np.full((scale_mm.shape[1], len(self.static)), np.nan)
        if drivers is not None and drivers.static is not None:
            raw = in_order(drivers.static, drivers.static_names, self.static)
        fixed = _pair(raw, self.static_centre, self.static_scale)
        every = np.broadcast_to(fixed, (scale_mm.shape[0], *fixed.shape))
        if self.motion is None:
            return every.copy()
        own = _pair(np.log(scale_mm)[..., None], self.motion[:1], self.motion[1:])
        return np.concatenate([own, every], axis=2)


def _pair(raw: Floats, centre: tuple[float, ...], scale: tuple[float, ...]) -> NDArray[np.float32]:
    """(..., C) -> (..., C, 2): scaled value, 0 where unknown, and whether it is known."""
    known = np.isfinite(raw)
    values = (np.where(known, raw, 0.0) - np.asarray(centre)) / np.asarray(scale)
    values = np.where(known, np.clip(values, -_CLIP, _CLIP), 0.0)
    return np.stack([values, known], axis=-1).astype(np.float32)


def fit_scale(drivers: DriverRows | None, rows: int) -> SourceScale:
    """Mean and spread of each channel over its first `rows` rows."""
    if drivers is None:
        return SourceScale()
    # the season is an angle: scaled, it could not be turned to the target
    own = [
        measure(c) if kind != SEASON else (0.0, 1.0)
        for c, kind in zip(drivers.values[:rows].T, drivers.kinds, strict=True)
    ]
    facts = [] if drivers.static is None else [measure(column) for column in drivers.static.T]
    return SourceScale(
        drivers.names,
        drivers.kinds,
        tuple(c for c, _ in own),
        tuple(s for _, s in own),
        drivers.static_names,
        tuple(c for c, _ in facts),
        tuple(s for _, s in facts),
    )


def measure(column: Floats) -> tuple[float, float]:
    """Mean and standard deviation of what is known; 0 and 1 where there is nothing to take them from."""
    known = column[np.isfinite(column)]
    spread = float(known.std()) if known.size else 0.0
    return float(known.mean()) if known.size else 0.0, spread if spread > 0.0 else 1.0
