"""Scores of a fan: CRPS, PIT, rolling coverage, and the stage of motion at the issue. Missing values are left out.

The five quantiles are interpolated linearly in normal scores, and extrapolated beyond the outer ones, so that the fan
of a normal distribution gives exactly this distribution (`test_trials.py`). `forecasting.metrics` has the pinball loss
and the interval score.
"""

from statistics import NormalDist
from typing import Final

import numpy as np

from forecasting.data.series import DAY_S, Floats, Ints
from forecasting.data.windows import trailing
from forecasting.serving.quantiles import NORMAL

# Quantiles over which the CRPS is averaged.
NODES: Final = 400
# Consecutive forecasts of a rolling coverage.
ROLLING: Final = 30
_SHARES: Final = (np.arange(NODES) + 0.5) / NODES


def _compute_node_weights() -> Floats:
    """Return the weight of each of the five quantiles at each node, shape (NODES, 5)."""
    z = np.array([NormalDist().inv_cdf(float(share)) for share in _SHARES])
    left = np.clip(np.searchsorted(NORMAL, z) - 1, 0, NORMAL.size - 2)
    right_weight = (z - NORMAL[left]) / (NORMAL[left + 1] - NORMAL[left])
    weights = np.zeros((NODES, NORMAL.size))
    weights[np.arange(NODES), left] = 1.0 - right_weight
    weights[np.arange(NODES), left + 1] = right_weight
    return weights


_WEIGHTS: Final = _compute_node_weights()


def crps(quantiles: Floats, observed: Floats) -> Floats:
    """Return the continuous ranked probability score: twice the mean pinball loss over all quantiles.

    Source: Gneiting and Raftery 2007. It is in the unit of the values. Lower is better. NaN if a value is missing.

    >>> float(np.round(crps(NORMAL, np.array(0.0)), 3))  # a standard normal: (sqrt 2 - 1) / sqrt pi
    0.234
    """
    error = np.asarray(observed)[..., None] - np.asarray(quantiles) @ _WEIGHTS.T
    score: Floats = 2.0 * np.maximum(_SHARES * error, (_SHARES - 1.0) * error).mean(axis=-1)
    return score


def pit(quantiles: Floats, observed: Floats) -> Floats:
    """Return the forecast probability of a smaller value than the observed one (Dawid 1984).

    It is uniform over 0 to 1 if the fans are calibrated.

    >>> [round(float(pit(NORMAL, np.array(y))), 3) for y in (-1.959964, 0.0, 3.0)]
    [0.025, 0.5, 0.999]
    """
    from scipy.special import ndtr

    q = np.asarray(quantiles, dtype=np.float64)
    y = np.asarray(observed, dtype=np.float64)
    left = np.clip((q <= y[..., None]).sum(axis=-1) - 1, 0, NORMAL.size - 2)
    low = np.take_along_axis(q, left[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(q, left[..., None] + 1, axis=-1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = NORMAL[left] + (y - low) / (high - low) * (NORMAL[left + 1] - NORMAL[left])
    # a value on two equal quantiles is in the middle between them
    middle = (NORMAL[left] + NORMAL[left + 1]) / 2.0
    z = np.where((high == low) & (y == low), middle, z)
    probability: Floats = np.where(np.isfinite(q).all(axis=-1) & np.isfinite(y), ndtr(z), np.nan)
    return probability


def roll(inside: Floats, window: int = ROLLING) -> Floats:
    """Return the coverage of each `window` consecutive scored forecasts, the oldest first; empty if there are fewer.

    Args:
        inside: 1 if the value is within the interval, 0 if not, NaN if not scored, in order of time, shape (N,).

    >>> roll(np.array([1.0, 0.0, np.nan, 1.0, 1.0]), 2).tolist()
    [0.5, 0.5, 1.0]
    """
    scored = inside[np.isfinite(inside)]
    if scored.size < window:
        return np.empty(0)
    total = np.concatenate([[0.0], np.cumsum(scored)])
    coverage: Floats = (total[window:] - total[:-window]) / window
    return coverage


QUIET, STEADY, RUSHING = 0, 1, 2
STAGES = ("quiet", "steady", "rushing")
# Spans of the short and of the long velocity.
SHORT_DAYS, LONG_DAYS = 14, 60
# Ratio of the short to the long velocity above which a station is rushing.
RUSH = 1.5
# Movement over the short span below which a station is quiet, as a multiple of the noise.
CLEAR = 3.0


def find_stages(values: Floats, rows: Ints, noise_mm: Floats, step_s: float) -> Ints:
    """Return the stage of each row and station, shape (N, S): `QUIET`, `STEADY` or `RUSHING`.

    Only rows up to it are used.

    Args:
        values: Displacement in mm, shape (T, S).
        rows: Row numbers, shape (N,).
        noise_mm: Noise of each station, shape (S,).
        step_s: Interval between rows.
    """
    short_rows = max(2, round(SHORT_DAYS * DAY_S / step_s))
    long_rows = max(2, round(LONG_DAYS * DAY_S / step_s))
    moments = trailing(values, rows, (short_rows, long_rows))
    short_velocity = np.abs(moments[short_rows].slope)
    long_velocity = np.abs(moments[long_rows].slope)
    is_moving = short_velocity * short_rows > CLEAR * noise_mm
    is_rushing = is_moving & (short_velocity > RUSH * long_velocity)
    return np.where(is_rushing, RUSHING, np.where(is_moving, STEADY, QUIET)).astype(np.int64)
