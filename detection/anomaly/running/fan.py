"""Readings beside the forecasts that were stored for them: k of n outside the 95 % fan. It learns and costs nothing.

A fan is issued before its reading is known, so the score is causal by itself. One reading in twenty lies outside an
interval that holds 95 %; four of six by chance once in ten thousand readings, if they miss independently.
"""

from datetime import datetime
from typing import Final

import numpy as np

from detection.anomaly.stages import Array
from forecasting.message import Message, Template, Timestamp

FAN: Final = "residual-fan"
NEEDED: Final = 4
OF: Final = 6
_FANS: Final = Template(
    "compared.fans",
    "the 95 % fans of its forecasts, the newest issued {issued}: {n} of its last {count} readings lay outside",
)
FARTHEST: Final = 100.0  # half widths: a forecast that was sure of one value was wrong, however far off it lay


def exceed(values: Array, low: Array, middle: Array, high: Array) -> Array:
    """How far each reading lies from the median of its forecast, in half widths of the interval on that side.

    Above 1 it lies outside; the sign is the side. Of an interval without width every other value lies farthest out.
    NaN where either is unknown.

    >>> exceed(np.array([3.0, -1.0, 0.5]), np.zeros(3) - 2.0, np.zeros(3), np.ones(3)).tolist()
    [3.0, -0.5, 0.5]
    >>> exceed(np.array([-0.5, 0.0, np.nan]), np.zeros(3), np.zeros(3), np.zeros(3)).tolist()
    [-100.0, 0.0, nan]
    """
    off = values - middle
    width = np.maximum(np.where(off >= 0.0, high - middle, middle - low), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        known = np.where((off == 0.0) & np.isfinite(width), 0.0, off / width)
    return np.clip(known, -FARTHEST, FARTHEST)


def score_fan(exceeds: Array) -> Array:
    """Score of each reading: what the fourth farthest of the last six lies out; NaN until six are known.

    It is above 1 where four of them or more lie outside their intervals. Readings without a forecast are passed over.

    >>> score_fan(np.array([0.1, 2.0, 2.0, -3.0, 0.2, 1.5, np.nan, 4.0])).tolist()[-3:]
    [1.5, nan, 2.0]
    """
    out = np.full(len(exceeds), np.nan)
    known = np.flatnonzero(np.isfinite(exceeds))
    if len(known) < OF:
        return out
    windows = np.lib.stride_tricks.sliding_window_view(np.abs(exceeds[known]), OF)
    out[known[OF - 1 :]] = np.sort(windows, axis=1)[:, OF - NEEDED]
    return out


def name_kind(exceeds: Array) -> str:
    """What the last six look like: all that lie outside on one side are movement, else noise.

    >>> name_kind(np.array([2.0, 2.0, 0.1, 3.0, 4.0])), name_kind(np.array([2.0, -2.0, 3.0, 4.0]))
    ('movement', 'noise')
    """
    last = exceeds[np.isfinite(exceeds)][-OF:]
    sides = np.sign(last[np.abs(last) > 1.0])
    return "movement" if len(sides) and abs(sides.sum()) == len(sides) else "noise"


def count_outside(exceeds: Array) -> int:
    """How many of the last six known readings lie outside.

    >>> count_outside(np.array([9.0, 2.0, 2.0, np.nan, 0.1, 3.0, 4.0, 0.5]))
    4
    """
    last = exceeds[np.isfinite(exceeds)][-OF:]
    return int((np.abs(last) > 1.0).sum())


def describe(outside: int, issued: datetime) -> Message:
    """What the newest readings were compared with, in words."""
    return _FANS(issued=Timestamp.of(issued), n=outside, count=OF)
