"""Forecasts as the sum of a forecast of each component, decomposed anew at every issue from what was known then."""

from collections.abc import Sequence

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.decomposition.components import Components, decompose
from forecasting.errors import NotEnoughDataError

LAGS = 6
PENALTY = 1e-3


def forecast_parts(series: Floats, origins: Ints, steps: Sequence[int], *, method: str, period: int) -> Floats:
    """Forecasts in mm, shape (N, H); NaN where too little was known."""
    out = np.full((origins.size, len(steps)), np.nan)
    for i, t in enumerate(origins):
        try:
            known = decompose(series, int(t) + 1, method=method, period=period)
        except NotEnoughDataError:
            continue
        out[i] = sum_of_parts(known, int(t), steps)
    return out


def sum_of_parts(known: Components, t: int, steps: Sequence[int]) -> Floats:
    """Ridge on six lags of the steps of each part, learnt from rows up to t; shape (H,)."""
    total = np.zeros(len(steps))
    for part in known.parts:
        rows = part[: t + 1]
        rows = rows[np.isfinite(rows)]
        moved = np.diff(rows)
        if moved.size < 2 * LAGS:
            return np.full(len(steps), np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(moved, LAGS)
        for i, h in enumerate(steps):
            ahead = rows[LAGS + h :] - rows[LAGS : rows.size - h]
            total[i] += rows[-1] + _regress(windows[: ahead.size], ahead, moved[-LAGS:])
    return total


def _regress(inputs: Floats, wanted: Floats, newest: Floats) -> float:
    if wanted.size < LAGS:
        return float(newest.mean())
    middle, mean = inputs.mean(axis=0), wanted.mean()
    x, y = inputs - middle, wanted - mean
    size = float((x * x).sum()) / LAGS
    weights = np.linalg.solve(x.T @ x + (PENALTY * size + 1e-12) * np.eye(LAGS), x.T @ y)
    return float(mean + (newest - middle) @ weights)
