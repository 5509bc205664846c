"""Statistics of the texture of an image: evenness of the grain, noise, crispness, smear, detail, colour, repeats.

All functions except `compare_colour` take spectral bands, bands x H x W, and the pixels H x W that are valid. "Grey" is
the mean of the bands. A step is the difference between neighbouring pixels. A bend is the difference between
consecutive steps.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BLOCK_PX: Final = 8
LEAST_BLOCKS: Final = 16  # of fewer blocks, grain and noise are not measured
# Smoothness above which the grain is measured on every second pixel, because neighbours share a smoothed grain.
SMOOTHED: Final = 0.9
# Quantiles of the blocks that count as calm and as rough.
CALM: Final = 0.1
ROUGH: Final = 0.9
ROUNDS: Final = 5  # rounds of the fit of `_fit_steps`
OUTLYING: Final = 0.3  # relative deviation from the line from which a block loses weight
FLOOR: Final = 0.2  # least expected step, as a share of the median step
DETAIL_MEAN_PX: Final = 5  # side of the mean that is subtracted to find fine detail
LEAST_DETAIL_PX: Final = 256  # of fewer pixels, fine detail is not measured
# Mean absolute bend of the calmest tenth of the blocks, as a share of that of all blocks, for normal noise alone.
CALM_SHARE: Final = 0.81
LEAST_COLOUR: Final = 1e-6  # an image with a smaller share of colour in its variation is grey
# Directions in pixels (down, right), each with the direction across it. Any direction is near one of these eight.
ACROSS: Final = (((0, 1), (1, 0)), ((1, 1), (1, -1)), ((1, 2), (2, -1)), ((2, 1), (1, -2)))


def measure_grain(values: NDArray[np.floating], valid: NDArray[np.bool_], smoothness: float) -> float:
    """Return how even the grain of a window is: the steps of calm blocks over those of rough blocks, 0 to 1.

    The median step in blocks of 8 x 8 pixels is divided by the step that a straight line through the brightness of the
    blocks gives. The result is the 10 % quantile of these ratios over their 90 % quantile. Ground has calm and rough
    parts whatever their brightness. Speckle of radar is even: its steps grow with the brightness (amplitude, intensity)
    or do not depend on it (decibels), and the line fits both.

    Args:
        smoothness: correlation of a pixel with the next one.

    The result is 0 if fewer than `LEAST_BLOCKS` blocks are valid.

    >>> rng, valid = np.random.default_rng(1), np.ones((96, 96), bool)
    >>> bright = np.linspace(1, 3, 96) * np.ones((96, 1))
    >>> speckle = (bright * rng.gamma(4, 0.25, bright.shape))[None]
    >>> quarter = speckle * (np.arange(96) < 72) + bright * (np.arange(96) >= 72)
    >>> measure_grain(speckle, valid, 0.1) > 0.65, measure_grain(quarter, valid, 0.1) < 0.1
    (True, True)
    """
    grey, is_valid = values.mean(axis=0, dtype=np.float64), valid
    if smoothness > SMOOTHED:
        grey, is_valid = grey[::2, ::2], is_valid[::2, ::2]
    inner = grey[1:, 1:]
    steps = [np.abs(inner - grey[1:, :-1]), np.abs(inner - grey[:-1, 1:])]
    is_whole = _cut_blocks(is_valid[1:, 1:] & is_valid[1:, :-1] & is_valid[:-1, 1:]).all(axis=1)
    if is_whole.sum() < LEAST_BLOCKS:
        return 0.0
    usual_step = np.median(np.concatenate([_cut_blocks(step)[is_whole] for step in steps], axis=1), axis=1)
    strength = usual_step / _fit_steps(usual_step, _cut_blocks(inner)[is_whole].mean(axis=1))
    calm, rough = np.quantile(strength, [CALM, ROUGH])
    return float(calm / rough) if rough > 0 else 0.0


def measure_noise(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Estimate the standard deviation of the noise of each band, in the unit of the values.

    Second differences down and across remove slopes and edges (Immerkaer 1996). The calmest tenth of the blocks of
    8 x 8 pixels counts, because rougher blocks contain ground.

    The result is 0 if fewer than `LEAST_BLOCKS` blocks are valid.

    >>> rng, valid = np.random.default_rng(1), np.ones((128, 128), bool)
    >>> ground = np.add.outer(np.linspace(0, 90, 128), 60 * (np.arange(128) > 64))[None]
    >>> [round(*measure_noise(ground + rng.normal(0, sigma, ground.shape), valid), 1) for sigma in (0.0, 2.0, 10.0)]
    [np.float64(0.0), np.float64(1.9), np.float64(10.4)]
    """
    bends = np.diff(np.diff(values.astype(np.float64), 2, axis=1), 2, axis=2)
    rows, columns = (side - 2 for side in valid.shape)
    if rows < BLOCK_PX or columns < BLOCK_PX:
        return np.zeros(len(values))
    neighbours_valid = [valid[down : down + rows, right : right + columns] for down in range(3) for right in range(3)]
    is_whole = _cut_blocks(np.logical_and.reduce(neighbours_valid)).all(axis=1)
    if is_whole.sum() < LEAST_BLOCKS:
        return np.zeros(len(values))
    calm = [np.quantile(_cut_blocks(np.abs(band))[is_whole].mean(axis=1), CALM) for band in bends]
    return np.asarray(np.array(calm) * np.sqrt(np.pi / 2) / 6 / CALM_SHARE)


def measure_crispness(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Return the mean absolute bend divided by the mean absolute step of grey, in the direction in which it is less.

    Noise has 1.7 and a photograph about 1. An image that was blurred, or drawn from a smooth field, has much less.

    >>> wave = np.sin(np.arange(64) / 4)[None, :, None] + np.sin(np.arange(64) / 4)
    >>> round(measure_crispness(wave, np.ones((64, 64), bool)), 2)
    0.25
    """
    grey = values.mean(axis=0, dtype=np.float64)
    crispness = []
    for along, is_valid in ((grey, valid), (grey.T, valid.T)):
        pairs = is_valid[1:] & is_valid[:-1]
        triples = is_valid[2:] & is_valid[1:-1] & is_valid[:-2]
        steps = np.abs(np.diff(along, axis=0))[pairs]
        bends = np.abs(np.diff(along, 2, axis=0))[triples]
        crispness.append(float(bends.mean() / steps.mean()) if bends.size and steps.any() else 0.0)
    return min(crispness)


def measure_smear(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Return the greatest ratio of the crispness of grey in two perpendicular directions, at least 1.

    Ground is about equally crisp in all directions. An image that was taken by a moving camera is less crisp in the
    direction of the movement.

    >>> noise = np.random.default_rng(1).normal(size=(1, 96, 96))
    >>> smeared = (noise[..., :-2] + noise[..., 1:-1] + noise[..., 2:]) / 3
    >>> [bool(measure_smear(image, np.ones(image.shape[1:], bool)) > 1.1) for image in (noise, smeared)]
    [False, True]
    """
    grey, smear = values.mean(axis=0, dtype=np.float64), 1.0
    for direction, across in ACROSS:
        crispness = _measure_crispness_along(grey, valid, *direction)
        crispness_across = _measure_crispness_along(grey, valid, *across)
        if crispness > 0 and crispness_across > 0:
            smear = max(smear, crispness / crispness_across, crispness_across / crispness)
    return smear


def _measure_crispness_along(grey: NDArray[np.float64], valid: NDArray[np.bool_], down: int, right: int) -> float:
    """Return the mean absolute bend over the mean absolute step in one direction; 0 if no three pixels are valid."""
    rows, columns = (side - 2 * abs(step) for side, step in zip(grey.shape, (down, right), strict=True))
    if rows <= 0 or columns <= 0:
        return 0.0
    top, left = max(0, -2 * down), max(0, -2 * right)
    places = [
        (
            slice(top + number * down, top + number * down + rows),
            slice(left + number * right, left + number * right + columns),
        )
        for number in range(3)
    ]
    first, second, third = (grey[place] for place in places)
    is_valid = valid[places[0]] & valid[places[1]] & valid[places[2]]
    steps = np.abs(second - first)[is_valid]
    bends = np.abs(third - 2 * second + first)[is_valid]
    return float(bends.mean() / steps.mean()) if bends.size and steps.any() else 0.0


def measure_detail(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Return whether fine detail is bright (above 0) or dark (below 0).

    It is the skewness of grey after its mean over 5 x 5 pixels was subtracted. Nearly all training tiles have bright
    detail; a negative has dark detail.

    The result is infinite, so that it is not below any limit, if fewer than `LEAST_DETAIL_PX` pixels have a valid
    neighbourhood.

    >>> spots = np.zeros((1, 48, 48))
    >>> spots[0, 4::8, 4::8] = 1
    >>> valid = np.ones((48, 48), bool)
    >>> measure_detail(spots, valid) > 1, measure_detail(-spots, valid) < -1, measure_detail(spots, ~valid)
    (True, True, inf)
    """
    grey = np.where(valid, values.mean(axis=0, dtype=np.float64), 0.0)
    is_whole = ndimage.minimum_filter(valid, DETAIL_MEAN_PX, mode="constant", cval=False)
    if np.count_nonzero(is_whole) < LEAST_DETAIL_PX:
        return np.inf
    detail = (grey - ndimage.uniform_filter(grey, DETAIL_MEAN_PX))[is_whole]
    variance = float(np.mean(detail**2))
    return float(np.mean(detail**3) / variance**1.5) if variance > 0 else np.inf


def compare_colour(correlations: NDArray[np.float64], step_covariance: NDArray[np.float64]) -> float:
    """Return the share of colour in the steps from pixel to pixel, divided by the share of colour in the whole window.

    The share of colour is the share of the variation that the first principal component of the bands does not explain.
    On finer pixels the steps are mostly of brightness, and the result is lower. It does not depend on offsets and
    factors of the bands.

    Args:
        correlations: between the bands of the window.
        step_covariance: between their steps.

    The result is infinite for one band, a constant band or a grey image.

    >>> correlations = np.array([[1.0, 0.9], [0.9, 1.0]])
    >>> round(compare_colour(correlations, 4 * correlations), 3), compare_colour(np.ones((2, 2)), correlations)
    (1.0, inf)
    """
    deviation = np.sqrt(np.diag(step_covariance))
    if len(step_covariance) < 2 or not deviation.all():
        return np.inf
    colour_of_window, colour_of_steps = (
        1.0 - float(np.linalg.eigvalsh(matrix)[-1]) / len(matrix)
        for matrix in (correlations, step_covariance / np.outer(deviation, deviation))
    )
    return colour_of_steps / colour_of_window if colour_of_window > LEAST_COLOUR else np.inf


def measure_repeats(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Return the share of the pixels that have, in every band, the value of the pixel beside them.

    It is measured in the direction in which it is less, because an image that was warped to narrower pixels repeats
    them in the other direction.

    >>> measure_repeats(np.kron(np.arange(16.0).reshape(1, 4, 4), np.ones((4, 4))), np.ones((16, 16), bool))
    0.8
    """
    shares = []
    for along, is_valid in ((values, valid), (values.swapaxes(1, 2), valid.T)):
        pairs = is_valid[1:] & is_valid[:-1]
        is_repeated = (along[:, 1:] == along[:, :-1]).all(axis=0)
        shares.append(float(is_repeated[pairs].mean()) if pairs.any() else 0.0)
    return min(shares)


def _cut_blocks(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Cut H x W into whole blocks of 8 x 8 pixels: blocks x 64."""
    rows, columns = (side // BLOCK_PX for side in pixels.shape)
    blocks = pixels[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    return np.asarray(blocks.swapaxes(1, 2).reshape(rows * columns, BLOCK_PX**2))


def _fit_steps(steps: NDArray[np.float64], brightness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the step of each block that a straight line through steps by brightness predicts.

    Relative deviations are minimised by weighted least squares, in which blocks far from the line hardly count.
    """
    terms = np.stack([np.ones_like(brightness), brightness], axis=1)
    least = max(FLOOR * float(np.median(steps)), 1e-12)
    weights = np.ones_like(steps)
    for _ in range(ROUNDS):
        line, *_ = np.linalg.lstsq(terms * weights[:, None], steps * weights, rcond=None)
        expected = np.maximum(terms @ line, least)
        weights = 1 / (expected * np.sqrt(1 + ((steps / expected - 1) / OUTLYING) ** 2))
    return np.asarray(expected)
