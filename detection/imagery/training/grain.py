"""The grain of an image: how even (speckle is, ground is not), how crisp, its noise, its detail, pixels that repeat."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BLOCK_PX: Final = 8
LEAST_BLOCKS: Final = 16  # fewer say nothing
# Neighbours that correlate by more share grains that were smoothed; every second pixel has one of its own.
SMOOTHED: Final = 0.9
# Of the blocks, how strong the steps of the calm ones are beside those of the rough ones.
CALM, ROUGH = 0.1, 0.9
ROUNDS: Final = 5
OUTLYING: Final = 0.3  # a block that far off the line hardly moves it
FLOOR: Final = 0.2  # of the usual step: no line goes below it
AROUND_PX: Final = 5  # side of what a pixel is compared with, to find whether bright or dark things are fine
LEAST_DETAIL_PX: Final = 256
# Of blocks that hold normal noise alone, the calmest tenth have so much of it.
CALM_SHARE: Final = 0.81
LEAST_COLOUR: Final = 1e-6  # share of the variation; less is next to one image
# Steps down and to the right, each with the one across it: a smear lies near one of the eight.
ACROSS: Final = (((0, 1), (1, 0)), ((1, 1), (1, -1)), ((1, 2), (2, -1)), ((2, 1), (1, -2)))


def measure_grain(values: NDArray[np.floating], valid: NDArray[np.bool_], smoothness: float) -> float:
    """Measure calm blocks beside rough ones, 0 to 1, of bands x H x W; 0 where too little is valid.

    What counts is the usual step from a pixel to the next in blocks of 8 pixels, over what a straight line in the
    brightness of the blocks expects. In amplitude and intensity speckle grows with the brightness, in decibels it does
    not: the line holds all of them. Roofs, crowns and furrows lie here and not there, whatever the brightness.

    Args:
        values: spectral bands; their mean is looked at, so that bands of one grain show it.
        smoothness: correlation of a pixel with the next.

    >>> draw, every = np.random.default_rng(1), np.ones((96, 96), bool)
    >>> bright = np.linspace(1, 3, 96) * np.ones((96, 1))
    >>> speckle = (bright * draw.gamma(4, 0.25, bright.shape))[None]
    >>> quarter = speckle * (np.arange(96) < 72) + bright * (np.arange(96) >= 72)
    >>> measure_grain(speckle, every, 0.1) > 0.65, measure_grain(quarter, every, 0.1) < 0.1
    (True, True)
    """
    grey, known = values.mean(axis=0, dtype=np.float64), valid
    if smoothness > SMOOTHED:
        grey, known = grey[::2, ::2], known[::2, ::2]
    here = grey[1:, 1:]
    steps = [np.abs(here - grey[1:, :-1]), np.abs(here - grey[:-1, 1:])]
    whole = _cut(known[1:, 1:] & known[1:, :-1] & known[:-1, 1:]).all(axis=1)
    if whole.sum() < LEAST_BLOCKS:
        return 0.0
    usual = np.median(np.concatenate([_cut(step)[whole] for step in steps], axis=1), axis=1)
    strength = usual / _expect(usual, _cut(here)[whole].mean(axis=1))
    calm, rough = np.quantile(strength, [CALM, ROUGH])
    return float(calm / rough) if rough > 0 else 0.0


def measure_noise(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Estimate the standard deviation of the noise of each band of bands x H x W; 0 where too little is valid.

    Second differences down and across leave slopes and edges out (Immerkaer 1996). Of blocks of 8 pixels the calm ones
    count: what the rough ones have beyond them is ground.

    >>> draw, every = np.random.default_rng(1), np.ones((128, 128), bool)
    >>> ground = np.add.outer(np.linspace(0, 90, 128), 60 * (np.arange(128) > 64))[None]
    >>> [round(*measure_noise(ground + draw.normal(0, sigma, ground.shape), every), 1) for sigma in (0.0, 2.0, 10.0)]
    [np.float64(0.0), np.float64(1.9), np.float64(10.4)]
    """
    bent = np.diff(np.diff(values.astype(np.float64), 2, axis=1), 2, axis=2)
    rows, columns = (side - 2 for side in valid.shape)
    if rows < BLOCK_PX or columns < BLOCK_PX:
        return np.zeros(len(values))
    around = np.logical_and.reduce([valid[d : d + rows, r : r + columns] for d in range(3) for r in range(3)])
    whole = _cut(around).all(axis=1)
    if whole.sum() < LEAST_BLOCKS:
        return np.zeros(len(values))
    calm = [np.quantile(_cut(np.abs(band))[whole].mean(axis=1), CALM) for band in bent]
    return np.asarray(np.array(calm) * np.sqrt(np.pi / 2) / 6 / CALM_SHARE)


def measure_crispness(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Measure how much steps from pixel to pixel differ from the next ones, as a share of their size.

    The lesser of both directions, of the mean of the bands. Noise has 1.7, a photograph about 1, and what was blurred
    or drawn from a smooth field much less.

    >>> wave = np.sin(np.arange(64) / 4)[None, :, None] + np.sin(np.arange(64) / 4)
    >>> round(measure_crispness(wave, np.ones((64, 64), bool)), 2)
    0.25
    """
    grey, found = values.mean(axis=0, dtype=np.float64), []
    for here, known in ((grey, valid), (grey.T, valid.T)):
        pairs, triples = known[1:] & known[:-1], known[2:] & known[1:-1] & known[:-2]
        steps, bends = np.abs(np.diff(here, axis=0))[pairs], np.abs(np.diff(here, 2, axis=0))[triples]
        found.append(float(bends.mean() / steps.mean()) if bends.size and steps.any() else 0.0)
    return min(found)


def measure_smear(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Measure how much crisper one direction is than the one across it, 1 and more, of the mean of the bands.

    The greatest of four pairs. Ground is about as crisp both ways; what moved while it was taken is soft along its way.

    >>> noise = np.random.default_rng(1).normal(size=(1, 96, 96))
    >>> smeared = (noise[..., :-2] + noise[..., 1:-1] + noise[..., 2:]) / 3
    >>> [bool(measure_smear(one, np.ones(one.shape[1:], bool)) > 1.1) for one in (noise, smeared)]
    [False, True]
    """
    grey, most = values.mean(axis=0, dtype=np.float64), 1.0
    for pair in ACROSS:
        one, other = (_bend(grey, valid, *way) for way in pair)
        if one > 0 and other > 0:
            most = max(most, one / other, other / one)
    return most


def _bend(grey: NDArray[np.float64], valid: NDArray[np.bool_], down: int, right: int) -> float:
    """How much steps of one way differ from the next, as a share of their size; 0 where none is known."""
    rows, columns = (side - 2 * abs(step) for side, step in zip(grey.shape, (down, right), strict=True))
    if rows <= 0 or columns <= 0:
        return 0.0
    top, left = max(0, -2 * down), max(0, -2 * right)
    place = [
        (slice(top + k * down, top + k * down + rows), slice(left + k * right, left + k * right + columns))
        for k in range(3)
    ]
    first, second, third = (grey[one] for one in place)
    known = valid[place[0]] & valid[place[1]] & valid[place[2]]
    steps, bends = np.abs(second - first)[known], np.abs(third - 2 * second + first)[known]
    return float(bends.mean() / steps.mean()) if bends.size and steps.any() else 0.0


def measure_detail(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Measure whether fine detail is bright (above 0) or dark (below 0), of the mean of the bands.

    The skewness of what each pixel has beyond the 5 x 5 pixels around it. Of a negative it has the other sign. Infinite
    where too little is valid, which no limit is below.

    >>> spots = np.zeros((1, 48, 48))
    >>> spots[0, 4::8, 4::8] = 1
    >>> every = np.ones((48, 48), bool)
    >>> measure_detail(spots, every) > 1, measure_detail(-spots, every) < -1, measure_detail(spots, ~every)
    (True, True, inf)
    """
    grey = np.where(valid, values.mean(axis=0, dtype=np.float64), 0.0)
    whole = ndimage.minimum_filter(valid, AROUND_PX, mode="constant", cval=False)
    if np.count_nonzero(whole) < LEAST_DETAIL_PX:
        return np.inf
    beyond = (grey - ndimage.uniform_filter(grey, AROUND_PX))[whole]
    power = float(np.mean(beyond**2))
    return float(np.mean(beyond**3) / power**1.5) if power > 0 else np.inf


def compare_colour(between: NDArray[np.float64], steps: NDArray[np.float64]) -> float:
    """Compare how much of the steps from pixel to pixel is colour with how much of the whole window is.

    Of each, the share that its one commonest mixture of the bands does not explain. No offset and no factor of a band
    changes it. Infinite where that says nothing.

    >>> one = np.array([[1.0, 0.9], [0.9, 1.0]])
    >>> round(compare_colour(one, 4 * one), 3), compare_colour(np.ones((2, 2)), one)
    (1.0, inf)
    """
    size = np.sqrt(np.diag(steps))
    if len(steps) < 2 or not size.all():
        return np.inf
    whole, fine = (
        1.0 - float(np.linalg.eigvalsh(one)[-1]) / len(one) for one in (between, steps / np.outer(size, size))
    )
    return fine / whole if whole > LEAST_COLOUR else np.inf


def measure_repeats(values: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Measure the share of the pixels that have the value of the one beside them in every band.

    The lesser of both directions: an image that was warped to narrower pixels repeats along one of them.

    >>> measure_repeats(np.kron(np.arange(16.0).reshape(1, 4, 4), np.ones((4, 4))), np.ones((16, 16), bool))
    0.8
    """
    found = []
    for here, known in ((values, valid), (values.swapaxes(1, 2), valid.T)):
        pairs = known[1:] & known[:-1]
        found.append(float((here[:, 1:] == here[:, :-1]).all(axis=0)[pairs].mean()) if pairs.any() else 0.0)
    return min(found)


def _cut(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    rows, columns = (side // BLOCK_PX for side in pixels.shape)
    kept = pixels[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    return np.asarray(kept.swapaxes(1, 2).reshape(rows * columns, BLOCK_PX**2))


def _expect(usual: NDArray[np.float64], brightness: NDArray[np.float64]) -> NDArray[np.float64]:
    """A straight line through the steps by brightness, fitted to ratios, in which outlying blocks hardly count."""
    terms = np.stack([np.ones_like(brightness), brightness], axis=1)
    least = max(FLOOR * float(np.median(usual)), 1e-12)
    weights = np.ones_like(usual)
    for _ in range(ROUNDS):
        line, *_ = np.linalg.lstsq(terms * weights[:, None], usual * weights, rcond=None)
        expected = np.maximum(terms @ line, least)
        weights = 1 / (expected * np.sqrt(1 + ((usual / expected - 1) / OUTLYING) ** 2))
    return np.asarray(expected)
