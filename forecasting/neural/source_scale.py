"""Scale driver channels, fitted on the fit block, and cut the windows of drivers that a network reads."""

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
    """Driver channels of a network with their scale; part of its recipe."""

    names: tuple[str, ...] = ()  # channels, in the order of the inputs of the network
    kinds: tuple[str, ...] = ()  # kind of each channel
    centre: tuple[float, ...] = ()  # mean of each channel on the fit block
    # standard deviation of each channel on the fit block; 1 if it is constant or unknown
    scale: tuple[float, ...] = ()
    static: tuple[str, ...] = ()  # properties of stations, in the order of the inputs of the network
    static_centre: tuple[float, ...] = ()  # mean of each property over the stations
    static_scale: tuple[float, ...] = ()  # standard deviation of each over the stations; 1 if they are equal
    # Mean and standard deviation of the logarithm of the scale of windows in mm; None if the network does not read it.
    # A network with drivers needs it, because drivers act in mm and its output is in units of the scale of the window.
    motion: tuple[float, float] | None = None

    @property
    def facts(self) -> tuple[str, ...]:
        """Names of the inputs of each station besides the channels: the scale of its motion and its properties."""
        return self.static if self.motion is None else ("motion_scale", *self.static)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without those that the network does not read."""
        unused = () if self.static else ("static", "static_centre", "static_scale")
        return {name: list(value) for name, value in asdict(self).items() if value is not None and name not in unused}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
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
        """Return the windows that end at each origin as pairs of value and mask, shape (N, W, C, 2).

        Both are 0 for an unknown value.
        """
        if drivers is None:
            return np.zeros((origins.size, window, len(self.names), 2), dtype=np.float32)
        return self.scaled(self.raw(drivers, origins, window))

    def raw(self, drivers: DriverRows, origins: Ints, window: int) -> Floats:
        """Return the windows in the units of the drivers, shape (N, W, C); NaN for an unknown value."""
        rows = origins[:, None] + np.arange(1 - window, 1)
        values: Floats = drivers.in_order(self.names)[np.maximum(rows, 0)]
        values[rows < 0] = np.nan
        return values

    def scaled(self, raw: Floats) -> NDArray[np.float32]:
        """Return windows in the units of the drivers, shape (N, W, C), as pairs of value and mask, (N, W, C, 2)."""
        return _pair(raw, self.centre, self.scale)

    def place(self, drivers: DriverRows | None, scale_mm: Floats) -> NDArray[np.float32]:
        """Return the scale of motion and the properties of each station as pairs of value and mask.

        Args:
            drivers: Drivers with the properties of the stations.
            scale_mm: Scale of each window, shape (N, S).

        Returns:
            Shape (N, S, A, 2). Both numbers are 0 for an unknown property.
        """
        raw = np.full((scale_mm.shape[1], len(self.static)), np.nan)
        if drivers is not None and drivers.properties is not None:
            raw = in_order(drivers.properties, drivers.property_names, self.static)
        properties = _pair(raw, self.static_centre, self.static_scale)
        repeated = np.broadcast_to(properties, (scale_mm.shape[0], *properties.shape))
        if self.motion is None:
            return repeated.copy()
        motion_scale = _pair(np.log(scale_mm)[..., None], self.motion[:1], self.motion[1:])
        return np.concatenate([motion_scale, repeated], axis=2)


def _pair(raw: Floats, centre: tuple[float, ...], scale: tuple[float, ...]) -> NDArray[np.float32]:
    """Return scaled values with a mask of known values, (..., C) -> (..., C, 2); both are 0 for an unknown value."""
    is_known = np.isfinite(raw)
    values = (np.where(is_known, raw, 0.0) - np.asarray(centre)) / np.asarray(scale)
    values = np.where(is_known, np.clip(values, -_CLIP, _CLIP), 0.0)
    return np.stack([values, is_known], axis=-1).astype(np.float32)


def fit_scale(drivers: DriverRows | None, rows: int) -> SourceScale:
    """Return the channels of drivers with mean and standard deviation over the first `rows` rows."""
    if drivers is None:
        return SourceScale()
    # The season is an angle as sine and cosine, which the network turns to the target, so it is not scaled.
    channels = [
        measure(column) if kind != SEASON else (0.0, 1.0)
        for column, kind in zip(drivers.values[:rows].T, drivers.kinds, strict=True)
    ]
    properties = [] if drivers.properties is None else [measure(column) for column in drivers.properties.T]
    return SourceScale(
        names=drivers.names,
        kinds=drivers.kinds,
        centre=tuple(mean for mean, _ in channels),
        scale=tuple(deviation for _, deviation in channels),
        static=drivers.property_names,
        static_centre=tuple(mean for mean, _ in properties),
        static_scale=tuple(deviation for _, deviation in properties),
    )


def measure(column: Floats) -> tuple[float, float]:
    """Return mean and standard deviation of the known values.

    The mean is 0 without a known value, and the standard deviation is 1 if it would be 0 or unknown.
    """
    known = column[np.isfinite(column)]
    if not known.size:
        return 0.0, 1.0
    deviation = float(known.std())
    return float(known.mean()), deviation if deviation > 0.0 else 1.0
