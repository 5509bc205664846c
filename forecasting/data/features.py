"""Turns windows of a panel into network inputs on the window's own scale; reads nothing after the origin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.data.series import DAY_S, Floats, Ints

FEATURES = ("value", "increment", "observed", "steps_since_observed")
CLIP = 10.0
_LEVEL_ROWS = 7
_FLOOR_MM = 1e-3


@dataclass(frozen=True, slots=True)
class Windows:
    """Inputs of one batch."""

    inputs: NDArray[np.float32]  # shape (N, S, W, F), float32; 0 where missing, with the mask beside it
    scale_mm: Floats  # the window's own scale, shape (N, S)
    share: Floats  # observed share of the window, shape (N, S)


def scale_lag(step_s: float, window: int) -> int:
    """Rows of the change that sets the scale: 7 days, at most a quarter of the window for fast sampling."""
    return max(1, min(round(7 * DAY_S / step_s), window // 4))


def noise_floor(values: Floats) -> Floats:
    """Noise of each station in mm, from the increments' median absolute deviation / sqrt 2, shape (S,).

    Stations that never or hardly report take the median of the others.
    """
    steps = np.diff(values, axis=0)
    known = np.isfinite(steps)
    counts = known.sum(axis=0)
    out = np.full(values.shape[1], np.nan)
    # stations with as many steps stand side by side: one median of a thousand columns, not a thousand of one
    for count in np.unique(counts[counts >= 10]):
        alike = np.flatnonzero(counts == count)
        some = steps[:, alike].T[known[:, alike].T].reshape(alike.size, count)
        off = np.abs(some - np.median(some, axis=1, keepdims=True))
        out[alike] = 1.4826 * np.median(off, axis=1) / np.sqrt(2.0)
    positive = out[np.isfinite(out) & (out > 0)]
    typical = float(np.median(positive)) if positive.size else _FLOOR_MM
    return np.maximum(np.where(np.isfinite(out), out, typical), _FLOOR_MM)


def windows(values: Floats, origins: Ints, noise_mm: Floats, *, window: int, lag: int) -> Windows:
    """Cut and scale the `window` rows that end at each origin."""
    rows = origins[:, None] + np.arange(1 - window, 1)
    cut = values[np.maximum(rows, 0)]
    cut[rows < 0] = np.nan
    series = np.ascontiguousarray(cut.transpose(0, 2, 1))
    seen = np.isfinite(series)
    plain = np.where(seen, series, 0.0)
    change = seen[..., lag:] & seen[..., :-lag]
    moved = np.where(change, np.abs(plain[..., lag:] - plain[..., :-lag]), 0.0).sum(axis=-1)
    scale = np.maximum(moved / np.maximum(change.sum(axis=-1), 1), noise_mm)
    level = _mean(plain[..., -_LEVEL_ROWS:], seen[..., -_LEVEL_ROWS:], _mean(plain, seen, np.zeros(scale.shape)))
    inputs = np.zeros((*series.shape, len(FEATURES)), dtype=np.float32)
    inputs[..., 0] = np.where(seen, np.clip((plain - level[..., None]) / scale[..., None], -CLIP, CLIP), 0.0)
    pair = seen[..., 1:] & seen[..., :-1]
    steps = (plain[..., 1:] - plain[..., :-1]) / scale[..., None]
    inputs[..., 1:, 1] = np.where(pair, np.clip(steps, -CLIP, CLIP), 0.0)
    inputs[..., 2] = seen
    index = np.arange(window)
    newest = np.maximum.accumulate(np.where(seen, index, -window), axis=-1)
    inputs[..., 3] = np.minimum(index - newest, CLIP) / CLIP
    return Windows(inputs, scale, seen.mean(axis=-1))


def _mean(values: Floats, seen: NDArray[np.bool_], other: Floats) -> Floats:
    count = seen.sum(axis=-1)
    return np.where(count > 0, values.sum(axis=-1) / np.maximum(count, 1), other)
