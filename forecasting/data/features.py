"""Inputs of networks: windows of a panel, each divided by its own scale. No row after the origin is read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.data.series import DAY_S, Floats, Ints

FEATURES = ("value", "increment", "observed", "steps_since_observed")
CLIP = 10.0  # largest absolute value of an input
_LEVEL_ROWS = 7  # newest rows whose mean is subtracted
_FLOOR_MM = 1e-3  # smallest noise


@dataclass(frozen=True, slots=True)
class Windows:
    """Inputs of one batch."""

    inputs: NDArray[np.float32]  # shape (N, S, W, F); 0 if missing, which the feature `observed` shows
    scale_mm: Floats  # scale of each window, shape (N, S)
    share: Floats  # observed share of each window, shape (N, S)


def scale_lag(step_s: float, window: int) -> int:
    """Return over how many rows the changes are taken that set the scale: 7 days, at most a quarter of the window."""
    return max(1, min(round(7 * DAY_S / step_s), window // 4))


def noise_floor(values: Floats) -> Floats:
    """Return the noise of each station, mm, shape (S,): the scaled median absolute deviation of increments / sqrt 2.

    A station with fewer than 10 increments gets the median of the others.
    """
    increments = np.diff(values, axis=0)
    is_known = np.isfinite(increments)
    counts = is_known.sum(axis=0)
    noise = np.full(values.shape[1], np.nan)
    # The medians of all stations with the same number of increments are computed together, which is much faster.
    for count in np.unique(counts[counts >= 10]):
        columns = np.flatnonzero(counts == count)
        known = increments[:, columns].T[is_known[:, columns].T].reshape(columns.size, count)
        deviations = np.abs(known - np.median(known, axis=1, keepdims=True))
        noise[columns] = 1.4826 * np.median(deviations, axis=1) / np.sqrt(2.0)
    positive = noise[np.isfinite(noise) & (noise > 0)]
    typical = float(np.median(positive)) if positive.size else _FLOOR_MM
    return np.maximum(np.where(np.isfinite(noise), noise, typical), _FLOOR_MM)


def windows(values: Floats, origins: Ints, noise_mm: Floats, *, window: int, lag: int) -> Windows:
    """Return the scaled windows that end at each origin.

    Args:
        values: Shape (T, S).
        origins: Row numbers, shape (N,).
        noise_mm: Smallest scale of each station, shape (S,).
        window: Rows of a window, W.
        lag: Rows over which the changes are taken that set the scale.
    """
    rows = origins[:, None] + np.arange(1 - window, 1)
    row_values = values[np.maximum(rows, 0)]
    row_values[rows < 0] = np.nan
    series = np.ascontiguousarray(row_values.transpose(0, 2, 1))
    observed = np.isfinite(series)
    filled = np.where(observed, series, 0.0)
    has_change = observed[..., lag:] & observed[..., :-lag]
    changes = np.where(has_change, np.abs(filled[..., lag:] - filled[..., :-lag]), 0.0)
    scale = np.maximum(changes.sum(axis=-1) / np.maximum(has_change.sum(axis=-1), 1), noise_mm)
    mean = _mean(filled, observed, np.zeros(scale.shape))
    level = _mean(filled[..., -_LEVEL_ROWS:], observed[..., -_LEVEL_ROWS:], mean)
    inputs = np.zeros((*series.shape, len(FEATURES)), dtype=np.float32)
    inputs[..., 0] = np.where(observed, np.clip((filled - level[..., None]) / scale[..., None], -CLIP, CLIP), 0.0)
    has_increment = observed[..., 1:] & observed[..., :-1]
    increments = (filled[..., 1:] - filled[..., :-1]) / scale[..., None]
    inputs[..., 1:, 1] = np.where(has_increment, np.clip(increments, -CLIP, CLIP), 0.0)
    inputs[..., 2] = observed
    index = np.arange(window)
    newest = np.maximum.accumulate(np.where(observed, index, -window), axis=-1)
    inputs[..., 3] = np.minimum(index - newest, CLIP) / CLIP
    return Windows(inputs, scale, observed.mean(axis=-1))


def _mean(values: Floats, observed: NDArray[np.bool_], default: Floats) -> Floats:
    """Return the mean over the last axis of the observed values, which are 0 if missing."""
    count = observed.sum(axis=-1)
    return np.where(count > 0, values.sum(axis=-1) / np.maximum(count, 1), default)
