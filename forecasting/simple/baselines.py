"""Damped level-drift: the simple forecast that networks correct."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.data.windows import last_value, trailing

# Values of m, k and b (see `LevelDrift`) that are compared.
LEVEL_ROWS = (1, 3, 5, 7, 10, 14, 21)
SLOPE_ROWS = (1, 3, 7, 14, 30, 60, 90)
DAMPING = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
# (m, k, b) if the record is too short for a choice: middle values of the choices on measured series.
DEFAULT = (7, 60, 0.75)
# Smallest number of forecasts with an observed target from which (m, k, b) are chosen.
MINIMUM_PAIRS = 30


@dataclass(frozen=True, slots=True)
class LevelDrift:
    """Damped level-drift: `y(t+h) = mean(last m) + b * slope_k * (h + mean age of the level)`.

    Without gaps the mean age is (m - 1) / 2. `slope_k` is the least-squares slope over the last k intervals (k + 1
    rows). `fit_level_drift` chooses all three numbers per horizon on the calibration block. If none of the last m rows
    is observed, the level is the newest value that is at most 3 rows old.

    Attributes:
        name: Model id.
        steps: Horizons in rows.
        params: (m, k, b) per horizon.
    """

    name: str
    steps: tuple[int, ...]
    params: tuple[tuple[int, int, float], ...]

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Return forecasts from the rows `origins`, mm, shape (N, S, H)."""
        lengths = {m for m, _, _ in self.params} | {k + 1 for _, k, b in self.params if b}
        moments = trailing(values, origins, lengths)
        held, held_age = last_value(values, origins)
        out = np.empty((origins.size, values.shape[1], len(self.steps)))
        for i, (h, (m, k, b)) in enumerate(zip(self.steps, self.params, strict=True)):
            seen = np.isfinite(moments[m].mean)
            level = np.where(seen, moments[m].mean, held)
            if b:
                level = level + b * moments[k + 1].slope * (h + np.where(seen, moments[m].age, held_age))
            out[:, :, i] = level
        return out

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as JSON-ready values."""
        return {"name": self.name, "steps": list(self.steps), "params": [list(p) for p in self.params]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the forecaster of the values that `to_json` returns."""
        return cls(
            str(data["name"]),
            tuple(int(h) for h in data["steps"]),
            tuple((int(m), int(k), float(b)) for m, k, b in data["params"]),
        )


def fit_level_drift(panel: Panel, calibration: Block, steps: Sequence[int]) -> LevelDrift:
    """Choose (m, k, b) of each horizon by the mean absolute error on the calibration block."""
    return choose_level_drift(
        "level-drift", panel, calibration, steps, levels=LEVEL_ROWS, dampings=DAMPING, default=DEFAULT
    )


def choose_level_drift(
    name: str,
    panel: Panel,
    calibration: Block,
    steps: Sequence[int],
    *,
    levels: Sequence[int],
    dampings: Sequence[float],
    default: tuple[int, int, float],
) -> LevelDrift:
    """Choose (m, k, b) of each horizon by the mean absolute error on the calibration block.

    Of equal errors the first one counts. With fewer than `MINIMUM_PAIRS` forecasts the default is used.
    """
    values = panel.values[: calibration.end]
    origins = calibration.origins
    moments = trailing(values, origins, {*levels, *(k + 1 for k in SLOPE_ROWS)})
    held, held_age = last_value(values, origins)
    params: list[tuple[int, int, float]] = []
    for h in steps:
        observed = calibration.targets(values, origins, h)
        best, lowest = default, np.inf
        if (np.isfinite(observed) & np.isfinite(held)).sum() < MINIMUM_PAIRS:
            params.append(default)
            continue
        usable = np.isfinite(observed) & np.isfinite(held)
        slopes = {k: moments[k + 1].slope[usable] for k in SLOPE_ROWS}
        for m in levels:
            seen = np.isfinite(moments[m].mean)
            left = (observed - np.where(seen, moments[m].mean, held))[usable]
            reach = (h + np.where(seen, moments[m].age, held_age))[usable]
            for k, b in product(SLOPE_ROWS, dampings):
                if not b and k != SLOPE_ROWS[0]:
                    # Without a slope, k has no effect.
                    continue
                off = b * slopes[k]
                off *= reach
                error = float(np.abs(np.subtract(left, off, out=off), out=off).mean())
                if error < lowest:
                    best, lowest = (m, k, b), error
        params.append(best)
    return LevelDrift(name, tuple(steps), tuple(params))
