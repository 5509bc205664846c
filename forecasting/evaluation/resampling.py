"""Confidence interval of a mean score of overlapping forecasts, by a bootstrap of blocks of issue times."""

import math

import numpy as np

from forecasting.data.series import Floats

DRAWS = 999
# Blocks that an interval needs.
LEAST_BLOCKS = 3
# Blocks that are drawn at a time, which limits the memory: 96,000 draws for 480 comparisons would need a gigabyte.
CELLS_AT_ONCE = 1 << 16


def block_bootstrap(
    scores: Floats, steps: int, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float] | None:
    """Return the confidence interval of a mean score by the circular block bootstrap (Politis and Romano 1992).

    A block has as many issue times as a horizon has rows, and at least the cube root of their number (Hall, Horowitz
    and Jing 1995). The stations of one issue time stay together, because their motion is correlated.

    Args:
        scores: Shape (N,) or (N, S), rows in order of time, NaN if not scored.
        steps: Horizon in rows.
        level: Confidence level.
        draws: Number of bootstrap samples.
        seed: Seed of the random numbers.

    Returns:
        Low and high end; None for fewer than `LEAST_BLOCKS` blocks.
    """
    table = scores[:, None] if scores.ndim == 1 else scores
    is_known = np.isfinite(table)
    has_score = is_known.any(axis=1)
    total = np.where(is_known, table, 0.0).sum(axis=1)[has_score]
    count = is_known.sum(axis=1)[has_score]
    n = total.size
    length = max(steps, math.ceil(n ** (1.0 / 3.0)), 1)
    blocks = math.ceil(n / length)
    if blocks < LEAST_BLOCKS:
        return None
    random = np.random.default_rng(seed)
    means = np.empty(draws)
    sums = _sum_blocks(total, length)
    counts = _sum_blocks(count.astype(np.float64), length)
    # the random numbers do not depend on the size of the parts
    part = max(1, CELLS_AT_ONCE // blocks)
    for first in range(0, draws, part):
        starts = random.integers(0, n, (min(part, draws - first), blocks))
        means[first : first + part] = sums[starts].sum(axis=1) / counts[starts].sum(axis=1)
    low, high = np.quantile(means, ((1.0 - level) / 2.0, (1.0 + level) / 2.0))
    return float(low), float(high)


def _sum_blocks(values: Floats, length: int) -> Floats:
    """Return the sum of the block that begins at each value. The last blocks continue with the first values."""
    totals = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:length]]))])
    sums: Floats = totals[length : length + values.size] - totals[: values.size]
    return sums
