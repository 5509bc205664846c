"""Exponential smoothing with a damped trend, ETS(A,Ad,N); a missing row moves the level on and teaches nothing.

Hyndman, Koehler, Snyder and Grose 2002 (A state space framework for automatic forecasting using exponential smoothing).
Ours because rows may be missing: statsmodels' `ETSModel` forecasts nothing after one. On full rows the squared errors
are within 2 % of its own (`test_statistics.py`).
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.data.windows import last_value
from forecasting.simple.least_squares import Fitted, Minimum, fit_stations, measure_steps, minimise
from forecasting.simple.rows import Pick, run

MINIMUM_ROWS = 12
DAMPING = (0.80, 0.98)
"""Bounds of phi (Hyndman and Athanasopoulos 2021, Forecasting: Principles and Practice, section 8.2)."""


@dataclass(frozen=True, slots=True)
class Smoothing(Fitted):
    """`y = l + p b + e`, `l' = l + p b + a e`, `b' = p b + g e`; forecast `l + (p + ... + p^h) b`.

    `params` are (a, g, p, first slope in mm per row) of each station.
    """

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H); NaN where no value was seen for more than 3 rows."""
        out = np.full((origins.size, values.shape[1], len(self.steps)), np.nan)
        if not origins.size:
            return out
        a, g, p, first = np.array(self.params, dtype=np.float64).T
        _, levels, slopes = smooth(values[: int(origins.max()) + 1], a, g, p, first)
        known = np.isfinite(last_value(values, origins)[0])
        level, slope = levels[origins], slopes[origins]
        reach, power = np.zeros(p.shape), np.ones(p.shape)
        for h in range(1, max(self.steps) + 1):
            power = power * p
            reach = reach + power
            for i in (i for i, wanted in enumerate(self.steps) if wanted == h):
                out[:, :, i] = np.where(known, level + reach * slope, np.nan)
        return out


def smooth(values: Floats, a: Floats, g: Floats, p: Floats, first: Floats) -> tuple[Floats, Floats, Floats]:
    """Errors, levels and slopes after each row, each (T, ...), for many series side by side.

    Args:
        a: Share of the error that moves the level, any shape (..., S) that all four share.
        g: Share that moves the slope.
        p: Damping.
        first: Slope at the first value, mm per row.
    """
    errors, levels, slopes = run(_smooth, values, (a, g, p, first))
    return errors, levels, slopes


def _smooth(
    rows: Iterable[tuple[Any, Any]],
    begins: Container[int],
    gaps: Container[int],
    pick: Pick,
    a: Any,
    g: Any,
    p: Any,
    first: Any,
) -> Iterator[tuple[Any, ...]]:
    level, slope = np.nan * a, first
    begun: Any = False
    known = False  # every series has begun
    for t, (seen, value) in enumerate(rows):
        damped = p * slope
        ahead = level + damped
        if known and t not in gaps:  # nothing to choose
            error = value - ahead
            level, slope = ahead + a * error, damped + g * error
            yield error, level, slope
            continue
        error = pick(seen & begun, value - ahead, 0.0)
        level, slope = ahead + a * error, pick(begun, damped + g * error, first)
        if t in begins:
            fresh = seen > begun
            level, begun = pick(fresh, value, level), begun | fresh
        known = known or t not in gaps
        yield error, level, slope


def fit_ets(panel: Panel, calibration: Block, steps: Sequence[int]) -> Smoothing:
    """Least squares of the one-step errors per station on the rows before the end of `calibration`."""
    return Smoothing("ets", tuple(steps), *fit_stations(panel, calibration, MINIMUM_ROWS, _search))


def _search(values: Floats) -> Minimum:
    unit, slope = _scale(values)
    scaled = values / unit
    # slow and quick to learn: bursts have minima at both ends
    start = np.stack(
        [
            np.column_stack([np.full((unit.size, 3), first), slope])
            for first in ((-1.0, -1.5, 0.0), (0.5, -1.5, 0.0), (0.5, 0.8, 0.0), (-1.8, 1.0, 1.0))
        ]
    )
    found = minimise(lambda raw: smooth(scaled, *natural(raw))[0], start)
    a, g, p, b = natural(found.params)
    return replace(found, params=np.stack([a, g, p, b * unit], axis=-1))


def natural(raw: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Free numbers (..., 4) to 0 < a < 1, 0 < g < a and a damping within its bounds."""
    a = _squash(raw[..., 0])
    low, high = DAMPING
    return a, a * _squash(raw[..., 1]), low + (high - low) * _squash(raw[..., 2]), raw[..., 3]


def _squash(raw: Floats) -> Floats:
    return 0.5 + 0.499 * np.tanh(raw)


def _scale(values: Floats) -> tuple[Floats, Floats]:
    """Size of the steps, and the slope of the first ten values in those units, per station."""
    unit = measure_steps(values)
    slope = np.zeros(unit.size)
    for s, series in enumerate(values.T):
        rows = np.flatnonzero(np.isfinite(series))[:10]
        slope[s] = (series[rows[-1]] - series[rows[0]]) / max(1, rows[-1] - rows[0]) / unit[s]
    return unit, slope
