"""Ridge regression on lags: what the last two months of a station say about its next move, station by station."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import Block
from forecasting.data.windows import lagged, last_value

LAGS = (1, 2, 3, 4, 5, 6, 7, 10, 14, 21, 30, 45, 60)
PENALTY = 1.0
MINIMUM_PAIRS_PER_LAG = 4
_CARRY = 3


@dataclass(frozen=True, slots=True)
class Ridge:
    """`y(t+h) - y(t) = w0 + sum_j w_j (y(t) - y(t - lag_j))`, one set of weights per station and horizon."""

    name: str
    steps: tuple[int, ...]  # horizons in rows
    lags: tuple[int, ...]  # lags in rows
    # shape (H, S, 1 + lags) as nested tuples; NaN where a station had too few pairs
    weights: tuple[tuple[tuple[float, ...], ...], ...]

    def predict(self, values: Floats, origins: Ints) -> Floats:
        """Forecasts in mm, shape (N, S, H)."""
        level, moved = lag_table(values, origins, self.lags)
        out = np.empty((origins.size, values.shape[1], len(self.steps)))
        for i, one in enumerate(self.weights):
            w = np.array(one, dtype=np.float64)
            made = level + w[:, 0]
            # lag by lag in a fixed order: a matrix product may round by its shape
            for j in range(len(self.lags)):
                made = made + w[:, j + 1] * moved[j]
            out[:, :, i] = made
        return out


def lag_table(values: Floats, origins: Ints, lags: Sequence[int]) -> tuple[Floats, Floats]:
    """The newest value (N, S) and how far it lies above that of each lag, (lags, N, S).

    A lag that fell into a gap takes the newest value up to 3 rows older; where there is none the move counts as 0.
    """
    level, _ = last_value(values, origins)
    moved = np.zeros((len(lags), *level.shape))
    for j, lag in enumerate(lags):
        old = lagged(values, origins, lag)
        for more in range(1, _CARRY + 1):
            gap = np.isnan(old)
            if not gap.any():
                break
            old[gap] = lagged(values, origins, lag + more)[gap]
        moved[j] = np.where(np.isfinite(old), level - old, 0.0)
    return level, moved


def usable_lags(rows: int) -> tuple[int, ...]:
    """Lags that leave three quarters of a record for learning."""
    return tuple(lag for lag in LAGS if lag <= max(1, rows // 4))


def fit_ridge(panel: Panel, calibration: Block, steps: Sequence[int]) -> Ridge:
    """Normal equations per station and horizon on pairs that end before the end of `calibration`.

    Columns are scaled by their standard deviation; the penalty is 1 per observation's variance share, the mean free.
    """
    values = panel.values[: calibration.end]
    known = Block(0, calibration.end)
    lags = usable_lags(calibration.end)
    origins = np.arange(max(lags), calibration.end, dtype=np.int64)
    level, moved = lag_table(values, origins, lags)
    weights = []
    for h in steps:
        wanted = known.targets(values, origins, h) - level
        weights.append(tuple(_solve(moved[:, :, s], wanted[:, s]) for s in range(values.shape[1])))
    return Ridge("ridge", tuple(steps), lags, tuple(weights))


def _solve(moved: Floats, wanted: Floats) -> tuple[float, ...]:
    """Weights of one station: intercept and one per lag."""
    use = np.isfinite(wanted)
    count = moved.shape[0]
    if use.sum() < MINIMUM_PAIRS_PER_LAG * count:
        return tuple([float("nan")] * (count + 1))
    x, y = moved[:, use].T, wanted[use]
    middle, size = x.mean(axis=0), x.std(axis=0)
    size = np.where(size > 0, size, 1.0)
    scaled = (x - middle) / size
    square = scaled.T @ scaled + PENALTY * np.eye(count)
    w = np.linalg.solve(square, scaled.T @ (y - y.mean())) / size
    return (float(y.mean() - w @ middle), *(float(v) for v in w))
