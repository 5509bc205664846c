"""The simple forecasts that a network must beat; always fitted, always there when a network is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, Self

import numpy as np

from forecasting.data.series import DAY_S, Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.data.windows import last_value, trailing
from forecasting.errors import UnknownModelError
from forecasting.registry import BASELINES, load

LEVEL_ROWS = (1, 3, 5, 7, 10, 14, 21)
SLOPE_ROWS = (1, 3, 7, 14, 30, 60, 90)
DAMPING = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
DEFAULT = (7, 60, 0.75)
"""(m, k, b) where the record is too short to choose: the middle of what was chosen on measured series."""
MINIMUM_PAIRS = 30
YEAR_S = 365 * DAY_S


class Baseline(Protocol):
    """A fitted simple forecast: a few numbers, no state."""

    @property
    def name(self) -> str:
        """Model id."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Horizons in rows."""

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N origins, S stations, H horizons); reads no row after an origin."""


@dataclass(frozen=True, slots=True)
class LevelDrift:
    """Damped level-drift: `y(t+h) = mean(last m) + b * slope_k * (h + mean age of the level)`.

    Without gaps the mean age is (m - 1) / 2. `slope_k` is the least-squares slope over the last k intervals (k + 1
    rows). persistence is m = 1, b = 0; drift is m = 1, b = 1; lld chooses all three per horizon on calibration.
    Where none of the last m rows is observed, the newest value up to 3 rows old stands for the level.
    """

    name: str  # model id
    steps: tuple[int, ...]  # horizons in rows
    params: tuple[tuple[int, int, float], ...]  # (m, k, b) per horizon

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H)."""
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
        """Plain numbers."""
        return {"name": self.name, "steps": list(self.steps), "params": [list(p) for p in self.params]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            str(data["name"]),
            tuple(int(h) for h in data["steps"]),
            tuple((int(m), int(k), float(b)) for m, k, b in data["params"]),
        )


@dataclass(frozen=True, slots=True)
class Seasonal:
    """The increment of the same season: `y(t+h) = y(t) + y(t+h-P) - y(t-P)`, P whole periods with P >= h."""

    name: str  # model id
    steps: tuple[int, ...]  # horizons in rows
    period: int  # rows of one year

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H); NaN where the record is shorter than the season."""
        now, _ = last_value(values, origins)
        out = np.full((origins.size, values.shape[1], len(self.steps)), np.nan)
        for i, h in enumerate(self.steps):
            back = self.period * -(-h // self.period)
            usable = origins - back >= 0
            rows = origins[usable] - back
            # h <= back, so rows + h never lies after the origin
            out[usable, :, i] = now[usable] + values[rows + h] - values[rows]
        return out


@dataclass(frozen=True, slots=True)
class Climatology:
    """The mean increment of that season over all past years: `y(t+h) = y(t) + mean_k (y(t+h-kP) - y(t-kP))`."""

    name: str  # model id
    steps: tuple[int, ...]  # horizons in rows
    period: int  # rows of one year P

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H); NaN where no whole year is on record."""
        now, _ = last_value(values, origins)
        out = np.full((origins.size, values.shape[1], len(self.steps)), np.nan)
        for i, h in enumerate(self.steps):
            total, count = np.zeros(now.shape), np.zeros(now.shape)
            first = -(-h // self.period)
            for years in range(first, first + values.shape[0] // self.period + 1):
                back = years * self.period
                usable = origins - back >= 0
                if not usable.any():
                    break
                rows = origins[usable] - back
                # h <= back, so rows + h never lies after the origin
                moved = values[rows + h] - values[rows]
                seen = np.isfinite(moved)
                total[usable] += np.where(seen, moved, 0.0)
                count[usable] += seen
            out[:, :, i] = np.where(count > 0, now + total / np.maximum(count, 1.0), np.nan)
        return out


def fit_persistence(panel: Panel, calibration: Block, steps: Sequence[int]) -> Baseline:
    """The last value, whatever the horizon."""
    del panel, calibration
    return LevelDrift("persistence", tuple(steps), tuple((1, 1, 0.0) for _ in steps))


def fit_drift(panel: Panel, calibration: Block, steps: Sequence[int]) -> Baseline:
    """The last value and an undamped slope whose length is chosen per horizon."""
    return choose_level_drift("drift", panel, calibration, steps, levels=(1,), dampings=(1.0,), default=(1, 60, 1.0))


def fit_lld(panel: Panel, calibration: Block, steps: Sequence[int]) -> LevelDrift:
    """Damped level-drift, (m, k, b) chosen per horizon by MAE on the calibration block."""
    return choose_level_drift("lld", panel, calibration, steps, levels=LEVEL_ROWS, dampings=DAMPING, default=DEFAULT)


def fit_seasonal(panel: Panel, calibration: Block, steps: Sequence[int]) -> Baseline:
    """The increment of one year ago."""
    del calibration
    return Seasonal("seasonal", tuple(steps), max(1, round(YEAR_S / panel.step_s)))


def fit_climatology(panel: Panel, calibration: Block, steps: Sequence[int]) -> Baseline:
    """The mean increment of the season over all years on record."""
    del calibration
    return Climatology("climatology", tuple(steps), max(1, round(YEAR_S / panel.step_s)))


def fit_baseline(name: str, panel: Panel, calibration: Block, steps: Sequence[int]) -> Baseline:
    """Fit one baseline by its id.

    `panel`: the record; only rows up to the end of `calibration` are read.
    """
    if name not in BASELINES:
        raise UnknownModelError(f"no baseline is called {name}; there are {', '.join(BASELINES)}")
    fitted: Baseline = load(name)(panel, calibration, steps)
    return fitted


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
    """Search (m, k, b) per horizon; ties go to the first, the default stands where pairs are too few."""
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
                    continue  # without a slope its length does not matter
                off = b * slopes[k]
                off *= reach
                error = float(np.abs(np.subtract(left, off, out=off), out=off).mean())
                if error < lowest:
                    best, lowest = (m, k, b), error
        params.append(best)
    return LevelDrift(name, tuple(steps), tuple(params))
