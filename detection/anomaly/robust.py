"""Detectors that need no training: each maps a series to one causal score per cell, in robust standard deviations."""

import numpy as np

from detection.anomaly.stages import (
    MAD_TO_SIGMA,
    Array,
)
from detection.anomaly.windows import Series, scaled_residuals


def persistence_z(series: Series) -> Array:
    """Distance from the median of the previous seven days, in its own 90-day robust scale; shape (n,), NaN unknown."""
    return np.abs(scaled_residuals(series))


def noise_sigma(values: Array) -> float:
    """White-noise size of the values from their increments: 1.4826 x MAD / sqrt 2; NaN without increments."""
    steps = np.diff(values)
    steps = steps[np.isfinite(steps)]
    return (
        float(MAD_TO_SIGMA * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2.0)) if steps.size else float("nan")
    )
