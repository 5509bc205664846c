"""What may change about a patch without changing the truth: light, stretch, size, place, company, quality."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.degrade import add_noise, blur, resample, save_as_jpeg
from detection.imagery.data.patches import as_values, resize_bands, resize_mask

Values = NDArray[np.float32]
Mask = NDArray[np.uint8]
# A stretch for the eye cuts off so much at either end.
STRETCH_QUANTILES = 0.01, 0.99
# Sides of a pasted window, as shares of the patch.
WINDOW_SHARES = 0.2, 0.6


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much patches vary."""

    # range of the factor on a whole patch; (.5, 2) where scenes will be stretched as a whole but the patches were
    # stretched one by one
    brightness: tuple[float, float] = (0.85, 1.15)
    shift: float = 0.04  # greatest shift of one band, in units of the image values
    blank_share: float = 0.0  # share of patches of which a half plane is blanked as nodata
    turns: bool = True  # whether patches are turned and flipped
    # greatest shift of all bands together, up or down: an offset of the counts that was not taken off
    offset: float = 0.0
    # share of patches whose bands are stretched for the eye, half of them by their own darkest and brightest pixels,
    # half by those of another patch, as a stretch of the whole scene would do
    stretch_share: float = 0.0
    # range of the factor on the size of things; the patch keeps its side, and what lies beyond its edge is its mirror
    # image
    scale: tuple[float, float] = (1.0, 1.0)
    off_centre: float = 0.0  # greatest move of the patch, as a share of its side
    # share of patches that get a window of another patch, truth included (CutMix, Yun et al. 2019).
    cutmix_share: float = 0.0
    # share of patches that get the landslides of another one (Copy-Paste, Ghiasi et al. 2021).
    copy_paste_share: float = 0.0
    # share of patches whose place is taken by drawn ground without a landslide, see `negatives`
    negative_share: float = 0.0
    # share of patches that lose quality, see `degrade_patch`; the four that follow say how much
    degraded_share: float = 0.0
    noise_counts: float = 10.0  # greatest standard deviation of noise, in counts of 255
    blur_px: float = 0.9  # greatest standard deviation of a blur
    between_px: float = 0.5  # greatest move between pixels, by bilinear interpolation
    jpeg_least: int = 70  # least quality of JPEG; 100: none


def mix(
    members: Sequence[tuple[NDArray[Any], Mask]], how: Augmentation, rng: np.random.Generator
) -> list[tuple[NDArray[Any], Mask]]:
    """Return the patches of a batch with what they take from each other; every truth follows its pixels."""
    shares = how.stretch_share, how.cutmix_share, how.copy_paste_share
    if not any(shares) or len(members) < 2:
        return list(members)
    given = [(as_values(image), mask) for image, mask in members]
    mixed = []
    for position, own in enumerate(given):
        others = rng.integers(1, len(given), 3) + position
        stretched, windowed, pasted = (given[other % len(given)] for other in others)
        one = own
        if rng.random() < how.stretch_share:
            one = stretch_for_the_eye(own[0], own[0] if rng.random() < 0.5 else stretched[0]), own[1]
        if rng.random() < how.cutmix_share and windowed[1].shape == one[1].shape:
            one = _paste(one, windowed, _window(rng, one[1].shape))
        if rng.random() < how.copy_paste_share and pasted[1].shape == one[1].shape:
            one = _paste(one, pasted, pasted[1] == 1)
        mixed.append(one)
    return mixed


def vary(
    image: NDArray[Any],
    mask: Mask,
    normalisation: tuple[Values, Values],
    how: Augmentation,
    rng: np.random.Generator,
) -> tuple[Values, NDArray[np.int64]]:
    """Return one varied, normalised patch and its truth; a quarter turn needs a square patch."""
    mean, std = normalisation
    values = as_values(image)
    if how.scale != (1.0, 1.0) or how.off_centre:
        values, mask = move(values, mask, _factor(rng, how.scale), rng.uniform(-how.off_centre, how.off_centre, 2))
    if how.offset:
        values = np.maximum(values + np.float32(rng.uniform(-how.offset, how.offset)), 0)
    values = values * np.float32(_factor(rng, how.brightness))
    values += rng.uniform(-how.shift, how.shift, (len(values), 1, 1)).astype(np.float32)
    values = (values - mean[:, None, None]) / std[:, None, None]
    truth = mask.astype(np.int64)
    if rng.random() < how.blank_share:
        blank = _half_plane(rng, truth.shape)
        values[:, blank] = 0
        truth[blank] = 0
    turns, flip = int(rng.integers(4)), rng.random() < 0.5
    if how.turns:
        turns = turns if truth.shape[0] == truth.shape[1] else turns // 2 * 2
        values, truth = np.rot90(values, turns, (1, 2)), np.rot90(truth, turns)
        if flip:
            values, truth = values[:, :, ::-1], truth[:, ::-1]
    return np.ascontiguousarray(values), np.ascontiguousarray(truth)


def degrade_patch(image: NDArray[Any], how: Augmentation, rng: np.random.Generator) -> NDArray[Any]:
    """Return an image (bands x H x W, in the unit of its file) as it may come to a user: each loss half of the time.

    Interpolated first, then blurred, then with noise, and at last saved as JPEG: as they come in life.
    """
    between, blurred, noisy, saved = rng.random(4) < 0.5
    if between:
        image = resample(image, *rng.uniform(-how.between_px, how.between_px, 2))
    if blurred:
        image = blur(image, rng.uniform(0, how.blur_px))
    if noisy:
        image = add_noise(image, how.noise_counts * rng.random(), rng)
    if saved and how.jpeg_least < 100:
        image = save_as_jpeg(image, int(rng.integers(how.jpeg_least, 100)))
    return image


def stretch_for_the_eye(image: Values, by: Values) -> Values:
    """Stretch every band from dark to bright as a picture for the eye is, by quantiles of its own or of other pixels.

    Args:
        image: bands x H x W.
        by: the same bands of the pixels that are measured, of any shape.

    >>> ramp = np.linspace(0.2, 0.4, 101, dtype=np.float32).reshape(1, 1, 101)
    >>> [round(float(value), 2) for value in stretch_for_the_eye(ramp, ramp)[0, 0, ::50]]
    [0.0, 0.5, 1.0]
    """
    low, high = np.quantile(by.reshape(len(by), -1), STRETCH_QUANTILES, axis=1).astype(np.float32)[:, :, None, None]
    return np.asarray(np.clip((image - low) / np.maximum(high - low, 1e-6), 0, 1), np.float32)


def move(values: Values, mask: Mask, factor: float, by: NDArray[np.float64]) -> tuple[Values, Mask]:
    """Show the same ground larger or smaller, and from another place; its mirror image lies beyond its edge.

    Args:
        values: bands x H x W.
        mask: H x W.
        factor: on the size of things; 2: a quarter of the patch fills it.
        by: rows and columns, as shares of the sides.

    >>> image, mask = np.arange(16, dtype=np.float32).reshape(1, 4, 4), np.zeros((4, 4), np.uint8)
    >>> move(image, mask, 1.0, np.array([0.25, 0.0]))[0][0].tolist()[-1] == image[0, 3].tolist()
    True
    """
    rows, columns = (
        _mirror(round(side / 2 + share * side - side / factor / 2) + np.arange(max(1, round(side / factor))), side)
        for side, share in zip(mask.shape, by, strict=True)
    )
    place, shape = np.ix_(rows, columns), (mask.shape[0], mask.shape[1])
    return resize_bands(values[:, place[0], place[1]], shape), resize_mask(mask[place], shape)


def _paste(one: tuple[Values, Mask], other: tuple[Values, Mask], where: NDArray[np.bool_]) -> tuple[Values, Mask]:
    """A patch with the pixels of another one, and its truth, where `where` (H x W) says so."""
    return np.where(where, other[0], one[0]), np.where(where, other[1], one[1])


def _mirror(places: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Places beyond an edge, as seen in it.

    >>> _mirror(np.arange(-2, 6), 4).tolist()
    [1, 0, 0, 1, 2, 3, 3, 2]
    """
    inside = places % (2 * side)
    return np.where(inside < side, inside, 2 * side - 1 - inside)


def _window(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    where = np.zeros(shape, bool)
    sides = [max(1, round(side * rng.uniform(*WINDOW_SHARES))) for side in shape]
    row, column = (int(rng.integers(0, side - part + 1)) for side, part in zip(shape, sides, strict=True))
    where[row : row + sides[0], column : column + sides[1]] = True
    return where


def _factor(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A factor between two bounds, as often a halving as a doubling where the bounds allow it."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _half_plane(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    angle, rows, columns = rng.uniform(0, 2 * np.pi), *np.indices(shape)
    distance = (columns / shape[1] - 0.5) * np.cos(angle) + (rows / shape[0] - 0.5) * np.sin(angle)
    return np.asarray(distance > rng.uniform(-0.1, 0.4))
