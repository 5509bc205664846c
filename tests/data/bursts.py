"""Synthetic series whose fits have several minima: motion in bursts and in steps."""

from collections.abc import Iterable

import numpy as np

from forecasting.data.series import Floats


def draw_bursts(rows: int, seeds: Iterable[int]) -> Floats:
    """Return displacement in mm with correlated steps of strongly varying size and noise of 0.6 mm, shape (rows, S)."""
    out = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        size = np.minimum(0.3 * np.exp(np.cumsum(rng.normal(0.0, 0.35, rows))), 30.0)
        moves = np.zeros(rows)
        for t in range(1, rows):
            moves[t] = 0.7 * moves[t - 1] + rng.normal() * size[t]
        out.append(np.cumsum(0.05 + moves) + rng.normal(0.0, 0.6, rows))
    return np.array(out).T


def draw_steps(rows: int, seeds: Iterable[int]) -> Floats:
    """Return displacement in mm with steps of 8 mm on average at 6 % of the rows, noise 0.6 mm, shape (rows, S)."""
    out = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        moves = (rng.random(rows) < 0.06) * rng.exponential(8.0, rows)
        out.append(np.cumsum(0.05 + moves) + rng.normal(0.0, 0.6, rows))
    return np.array(out).T
