"""Statistics of windows: square parts of a scene, or whole training tiles.

`domain` compares the statistics of the windows of a scene with those of the tiles on which a network was trained.
`grain` computes the statistics of texture.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.degrade import COUNTS, NOISE_COUNTS
from detection.imagery.scene.white import COLOURS
from detection.imagery.training.grain import (
    compare_colour,
    measure_crispness,
    measure_detail,
    measure_grain,
    measure_noise,
    measure_repeats,
    measure_smear,
)

# The measured noise of two windows with the same noise may differ by this factor.
NOISE_SLACK: Final = 1.3
# When the variance of noise is subtracted from that of the steps of a band, at least this share of it remains.
LEAST_STEPS: Final = 0.05
BRIGHTEST: Final = 0.999  # quantile that counts as the brightest value of a window
TINY: Final = 1e-12  # keeps divisors above 0


class WindowStatistics(NamedTuple):
    """Statistics of one window. A step is the difference between a pixel and its neighbour below or to the right."""

    median: NDArray[np.float64]  # per spectral band, in model values
    spread: NDArray[np.float64]  # per spectral band, 95 % quantile less 5 % quantile, in model values
    correlation: float  # least correlation between two spectral bands; 1 for one band
    smoothness: float  # least correlation, over the bands, of a band with itself one pixel on
    step_covariance: NDArray[np.float64]  # between the spectral bands: sums of products of their steps
    grain: float  # see `measure_grain`
    crispness: float  # see `measure_crispness`
    smear: float  # see `measure_smear`
    repeats: float  # see `measure_repeats`
    levels: float  # 95 % quantile less 5 % quantile of the counts of the file, of the band in which it is greatest
    detail: float  # see `measure_detail`
    colour: float  # see `compare_colour`
    # standard deviation of the noise, mean over the bands, in 255ths of the brightest value of the window
    noise: float
    # per spectral band, the part of the diagonal of `step_covariance` that noise contributes if it is independent
    # between bands
    noise_step_variance: NDArray[np.float64]


def measure_window(
    values: NDArray[np.floating],
    valid: NDArray[np.bool_],
    counts: NDArray[np.floating] | None = None,
) -> WindowStatistics:
    """Compute the statistics of a window of spectral bands, bands x H x W, from its valid pixels.

    Args:
        values: in a unit in which ratios have a meaning, such as reflectance.
        counts: the same pixels in the unit of the file, in which repeated pixels are exactly equal. None: `values`.

    >>> ramp = np.linspace(1, 2, 64 * 64).reshape(1, 64, 64)
    >>> round(measure_window(ramp, np.ones((64, 64), bool)).smoothness, 2)
    1.0
    """
    counts = values if counts is None else counts
    exact = values.astype(np.float64)
    valid_values = pick_valid(values, valid).astype(np.float64)
    low, middle, high = np.quantile(valid_values, (0.05, 0.5, 0.95), axis=1)
    # Subtracting the median keeps the digits of sums, and makes those of a constant band exactly 0.
    shifted = exact - middle[:, None, None]
    pixels = valid_values.shape[1]
    if pixels < valid.size:
        shifted[:, ~valid] = 0
    flat = shifted.reshape(len(values), -1)
    sums, products = flat.sum(axis=1), flat @ flat.T
    power = np.diag(products) - sums**2 / pixels
    correlations = _correlate(products - np.outer(sums, sums) / pixels, power[:, None], power[None])
    step_covariance, smoothness_by_direction, pairs = np.zeros_like(products), [], 0
    for later, earlier, both_valid in (
        (shifted[:, 1:], shifted[:, :-1], valid[1:] & valid[:-1]),
        (shifted[:, :, 1:], shifted[:, :, :-1], valid[:, 1:] & valid[:, :-1]),
    ):
        count = int(np.count_nonzero(both_valid))
        if not count:
            continue
        pairs += count
        a, b = (later, earlier) if count == both_valid.size else (later * both_valid, earlier * both_valid)
        sum_a, sum_b = a.sum(axis=(1, 2)), b.sum(axis=(1, 2))
        aa, ab, bb = (np.einsum("kij,kij->k", x, y) for x, y in ((a, a), (a, b), (b, b)))
        smoothness_by_direction.append(
            _correlate(ab - sum_a * sum_b / count, aa - sum_a**2 / count, bb - sum_b**2 / count)
        )
        steps = (a - b).reshape(len(values), -1)
        step_covariance += steps @ steps.T
    smoothness = float(np.mean(smoothness_by_direction, axis=0).min()) if smoothness_by_direction else 0.0
    correlations_of_pairs = correlations[np.tril_indices(len(values), -1)]
    dark, light = np.quantile(pick_valid(counts, valid)[:, ::8].astype(np.float64), (0.05, 0.95), axis=1)
    noise = measure_noise(values, valid)
    brightest = float(np.quantile(valid_values, BRIGHTEST))
    return WindowStatistics(
        median=middle,
        spread=high - low,
        correlation=float(correlations_of_pairs.min(initial=1.0)),
        smoothness=smoothness,
        step_covariance=step_covariance,
        grain=measure_grain(values, valid, smoothness),
        crispness=measure_crispness(values, valid),
        smear=measure_smear(values, valid),
        repeats=measure_repeats(counts, valid),
        levels=float((light - dark).max()),
        detail=measure_detail(values, valid),
        colour=compare_colour(correlations, step_covariance),
        noise=float(noise.mean()) / brightest * COUNTS if brightest > 0 else 0.0,
        noise_step_variance=2 * pairs * noise**2,
    )


def pick_valid(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the valid pixels of bands x H x W as bands x pixels."""
    return values.reshape(len(values), -1) if valid.all() else values[:, valid]


def collect(windows: Sequence[WindowStatistics], name: str) -> NDArray[np.float64]:
    """Return one statistic of all windows; windows x bands for those per band."""
    return np.array([getattr(window, name) for window in windows])


def _correlate(
    covariance: NDArray[np.float64], variance: NDArray[np.float64], other_variance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the covariance divided by the root of both variances; 0 where a variance is 0."""
    power = np.sqrt(np.maximum(variance, 0) * np.maximum(other_variance, 0))
    return np.asarray(np.divide(covariance, power, out=np.zeros_like(covariance), where=power > 0))


def correlate_steps(windows: Sequence[WindowStatistics], *, without_noise: bool = False) -> float:
    """Return the least correlation, between two bands, of the steps from a pixel to the next.

    Roofs, trees and furrows make the same steps in every colour; the speckle of radar differs between channels. The
    steps of all windows are pooled, so that windows with small steps hardly count. No offset and no factor of a band
    changes the result.

    Args:
        without_noise: subtract the variance that noise contributes if it is independent between bands.
    """
    pooled = np.sum(collect(windows, "step_covariance"), axis=0)
    variance = np.diag(pooled)
    if without_noise:
        variance = variance - np.sum(collect(windows, "noise_step_variance"), axis=0)
    size = np.sqrt(np.maximum(variance, LEAST_STEPS * np.diag(pooled)))
    return float((pooled / np.maximum(np.outer(size, size), TINY)).min())


def has_tested_noise(windows: Sequence[WindowStatistics]) -> bool:
    """Return whether the noise of a scene is at most that with which weights are tested; radar has more."""
    return float(np.median(collect(windows, "noise"))) <= NOISE_SLACK * max(NOISE_COUNTS)


def measure_contrast(window: WindowStatistics) -> float:
    """Return the spread divided by the median of a window, of the band in which this is greatest."""
    return float((window.spread / np.maximum(abs(window.median), TINY)).max())


def measure_colour(counts: NDArray[np.floating]) -> float:
    """Return how far three colours (3 x pixels) differ, as a share of the brightest: the median over the pixels.

    >>> measure_colour(np.array([[1000.0, 980.0, 970.0]] * 5).T)
    0.03
    """
    brightest = counts.max(axis=0)
    return round(float(np.median((brightest - counts.min(axis=0)) / np.maximum(brightest, TINY))), 4)


def compare_green(bands: Sequence[str], windows: Sequence[WindowStatistics]) -> NDArray[np.float64]:
    """Return, per window, how much brighter green is than the darker one of red and blue, by their medians.

    The difference is divided by the median of the brightest of the three.

    It is negative where green is the darkest colour, as in a negative.
    """
    median = collect(windows, "median")[:, [list(bands).index(name) for name in COLOURS]]
    red, green, blue = median.T
    return np.asarray((green - np.minimum(red, blue)) / np.maximum(median.max(axis=1), TINY))


def compare_red_with_green(bands: Sequence[str], windows: Sequence[WindowStatistics]) -> NDArray[np.float64]:
    """Return, per window, the contrast of red divided by that of green. Contrast is the spread over the median."""
    _, contrast = list_contrasts(bands, windows, ("B4", "B3"))
    return np.asarray(contrast[:, 0] / np.maximum(contrast[:, 1], TINY))


def list_contrasts(
    bands: Sequence[str], windows: Sequence[WindowStatistics], names: tuple[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the spread of two bands, and their spread divided by the median, both windows x 2."""
    pair = [list(bands).index(name) for name in names]
    spread, median = (collect(windows, name)[:, pair] for name in ("spread", "median"))
    return spread, spread / np.maximum(np.abs(median), TINY)
