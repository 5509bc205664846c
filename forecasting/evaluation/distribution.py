"""Scores of a whole fan: CRPS, PIT, and the coverage of forecasts in a row; missing pairs are left out.

Five quantiles become a distribution by lines between them in normal scores, the outer lines continued: a normal fan is
taken for exactly that normal (`test_trials.py`). Pinball and interval score are in `forecasting.metrics`.
"""

from statistics import NormalDist
from typing import Final

import numpy as np

from forecasting.data.series import DAY_S, Floats, Ints
from forecasting.data.windows import trailing
from forecasting.serving.quantiles import NORMAL

NODES: Final = 400
ROLLING: Final = 30  # forecasts in a row over which a lapse is looked for
_SHARES: Final = (np.arange(NODES) + 0.5) / NODES


def _compute_node_weights() -> Floats:
    """What each of the five quantiles counts at each node, shape (NODES, 5)."""
    z = np.array([NormalDist().inv_cdf(float(p)) for p in _SHARES])
    k = np.clip(np.searchsorted(NORMAL, z) - 1, 0, NORMAL.size - 2)
    right = (z - NORMAL[k]) / (NORMAL[k + 1] - NORMAL[k])
    out = np.zeros((NODES, NORMAL.size))
    out[np.arange(NODES), k] = 1.0 - right
    out[np.arange(NODES), k + 1] = right
    return out


_WEIGHTS: Final = _compute_node_weights()


def crps(quantiles: Floats, observed: Floats) -> Floats:
    """Continuous ranked probability score: twice the pinball loss over all quantiles (Gneiting and Raftery 2007).

    It is in the unit of the values, lower is better, NaN where something is missing.

    >>> float(np.round(crps(NORMAL, np.array(0.0)), 3))  # a standard normal: (sqrt 2 - 1) / sqrt pi
    0.234
    """
    error = np.asarray(observed)[..., None] - np.asarray(quantiles) @ _WEIGHTS.T
    out: Floats = 2.0 * np.maximum(_SHARES * error, (_SHARES - 1.0) * error).mean(axis=-1)
    return out


def pit(quantiles: Floats, observed: Floats) -> Floats:
    """Probability that the fan gave to less than what came; even over 0 to 1 where fans are honest (Dawid 1984).

    >>> [round(float(pit(NORMAL, np.array(y))), 3) for y in (-1.959964, 0.0, 3.0)]
    [0.025, 0.5, 0.999]
    """
    from scipy.special import ndtr

    q, y = np.asarray(quantiles, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    k = np.clip((q <= y[..., None]).sum(axis=-1) - 1, 0, NORMAL.size - 2)
    low, high = (np.take_along_axis(q, place[..., None], axis=-1)[..., 0] for place in (k, k + 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = NORMAL[k] + (y - low) / (high - low) * (NORMAL[k + 1] - NORMAL[k])
    # a fan without width there: what lies on it has half of its share
    middle = (NORMAL[k] + NORMAL[k + 1]) / 2.0
    z = np.where((high == low) & (y == low), middle, z)
    out: Floats = np.where(np.isfinite(q).all(axis=-1) & np.isfinite(y), ndtr(z), np.nan)
    return out


def roll(inside: Floats, window: int = ROLLING) -> Floats:
    """Coverage of each `window` scored forecasts in a row, oldest first; empty where there are fewer.

    `inside`: 1 held, 0 missed, NaN not scored, in order of time, shape (N,).

    >>> roll(np.array([1.0, 0.0, np.nan, 1.0, 1.0]), 2).tolist()
    [0.5, 0.5, 1.0]
    """
    known = inside[np.isfinite(inside)]
    if known.size < window:
        return np.empty(0)
    total = np.concatenate([[0.0], np.cumsum(known)])
    out: Floats = (total[window:] - total[:-window]) / window
    return out


QUIET, STEADY, RUSHING = 0, 1, 2
STAGES = ("quiet", "steady", "rushing")
SHORT_DAYS, LONG_DAYS = 14, 60
RUSH = 1.5  # ratio of the short to the long velocity from which a station counts as rushing
CLEAR = 3.0  # movement over the short span, in units of the noise, below which a station counts as quiet


def find_stages(values: Floats, rows: Ints, noise_mm: Floats, step_s: float) -> Ints:
    """0 quiet, 1 steady, 2 rushing for each row and station, shape (N, S), from rows up to it."""
    short, long = (max(2, round(days * DAY_S / step_s)) for days in (SHORT_DAYS, LONG_DAYS))
    found = trailing(values, rows, (short, long))
    fast, slow = np.abs(found[short].slope), np.abs(found[long].slope)
    moves = fast * short > CLEAR * noise_mm
    rushes = moves & (fast > RUSH * slow)
    return np.where(rushes, RUSHING, np.where(moves, STEADY, QUIET)).astype(np.int64)
