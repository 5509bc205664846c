"""How sure a mean score is when forecasts overlap: blocks of issue times are drawn anew, all stations together."""

import math

import numpy as np

from forecasting.data.series import Floats

DRAWS = 999
LEAST_BLOCKS = 3
CELLS_AT_ONCE = 1 << 16
"""Blocks that are drawn at a time: 480 comparisons ask for 96,000 draws, which together would take a gigabyte."""


def block_bootstrap(
    scores: Floats, steps: int, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float] | None:
    """Interval of the mean of scores by the circular block bootstrap (Politis and Romano 1992).

    A block holds as many issue times as a horizon spans, and never fewer than the cube root of all (Hall, Horowitz and
    Jing 1995). Stations of one issue time stay together: they move together and are no independent witnesses. `scores`:
    shape (N,) or (N, S), rows in order of time, NaN where not scored. Returns low and high end; None for fewer
    than three blocks.
    """
    table = scores[:, None] if scores.ndim == 1 else scores
    known = np.isfinite(table)
    rows = known.any(axis=1)
    total, count = np.where(known, table, 0.0).sum(axis=1)[rows], known.sum(axis=1)[rows]
    n = total.size
    length = max(steps, math.ceil(n ** (1.0 / 3.0)), 1)
    blocks = math.ceil(n / length)
    if blocks < LEAST_BLOCKS:
        return None
    chance, means = np.random.default_rng(seed), np.empty(draws)
    sums, counts = (_sum_blocks(one, length) for one in (total, count.astype(np.float64)))
    for first in range(0, draws, part := max(1, CELLS_AT_ONCE // blocks)):  # the draws are the same in any parts
        start = chance.integers(0, n, (min(part, draws - first), blocks))
        means[first : first + part] = sums[start].sum(axis=1) / counts[start].sum(axis=1)
    low, high = np.quantile(means, ((1.0 - level) / 2.0, (1.0 + level) / 2.0))
    return float(low), float(high)


def _sum_blocks(values: Floats, length: int) -> Floats:
    around = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:length]]))])
    out: Floats = around[length : length + values.size] - around[: values.size]
    return out
