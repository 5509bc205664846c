"""Random variation of patches: brightness, orientation, scale, nodata and loss of quality.

Masks are turned, moved and scaled with their images, so that they stay correct.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.data.degrade import add_noise, blur, resample, save_as_jpeg
from detection.imagery.data.patches import as_values

Values = NDArray[np.float32]
Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much patches are varied."""

    # Range of the factor on a whole patch. Use (0.5, 2) if patches were stretched one by one, but scenes are stretched
    # as a whole.
    brightness: tuple[float, float] = (0.85, 1.15)
    shift: float = 0.04  # greatest shift of one band, in units of the image values
    blank_share: float = 0.0  # share of patches of which a half plane is blanked as nodata
    # Share of patches whose optional bands are masked, so that a network learns to map with and without them.
    masked_share: float = 0.5
    turns: bool = True  # whether patches are turned and flipped
    # Half of the patches are zoomed and moved.
    scale: float = 0.0  # greatest change of scale (natural logarithm)
    move: float = 0.0  # greatest shift, as a share of the side
    # Share of patches that lose quality. The following four fields limit the loss, see `degrade_patch`.
    degraded_share: float = 0.0
    noise_counts: float = 10.0  # greatest standard deviation of noise, in counts of 255
    blur_px: float = 0.9  # greatest standard deviation of a blur
    between_px: float = 0.5  # greatest shift by bilinear interpolation
    jpeg_least: int = 70  # least quality of JPEG; 100: no compression


def vary(
    image: NDArray[Any],
    mask: Mask,
    normalisation: tuple[Values, Values],
    how: Augmentation,
    rng: np.random.Generator,
    channels: Values | None = None,
) -> tuple[Values, NDArray[np.int64]]:
    """Return one varied, normalised patch and its truth. Only square patches are turned by a quarter.

    Args:
        image: bands x H x W.
        mask: H x W.
        normalisation: mean and standard deviation of each band.
        how: how much to vary.
        rng: draws the variation.
        channels: channels of the optional bands (`Patches.read_channels`), which follow the bands in the result.
    """
    mean, std = normalisation
    values = as_values(image)
    # The factor is drawn on a logarithmic scale, so that half as bright is as frequent as twice as bright.
    values = values * np.float32(np.exp(rng.uniform(*np.log(how.brightness))))
    values += rng.uniform(-how.shift, how.shift, (len(values), 1, 1)).astype(np.float32)
    values = (values - mean[:, None, None]) / std[:, None, None]
    if channels is not None:
        is_masked = rng.random() < how.masked_share
        values = np.concatenate([values, np.zeros_like(channels) if is_masked else channels])
    truth = mask.astype(np.int64)
    if rng.random() < how.blank_share:
        angle = rng.uniform(0, 2 * np.pi)
        rows, columns = np.indices(truth.shape)
        across = (columns / truth.shape[1] - 0.5) * np.cos(angle) + (rows / truth.shape[0] - 0.5) * np.sin(angle)
        blank = across > rng.uniform(-0.1, 0.4)
        values[:, blank] = 0
        truth[blank] = 0
    if (how.scale or how.move) and rng.random() < 0.5:
        values, truth = zoom(values, truth, how, rng)
    quarter_turns = int(rng.integers(4))
    is_flipped = rng.random() < 0.5
    if how.turns:
        if truth.shape[0] != truth.shape[1]:
            quarter_turns = quarter_turns // 2 * 2
        values = np.rot90(values, quarter_turns, (1, 2))
        truth = np.rot90(truth, quarter_turns)
        if is_flipped:
            values = values[:, :, ::-1]
            truth = truth[:, ::-1]
    return np.ascontiguousarray(values), np.ascontiguousarray(truth)


def zoom(
    values: Values, truth: NDArray[np.int64], how: Augmentation, rng: np.random.Generator
) -> tuple[Values, NDArray[np.int64]]:
    """Return a patch at a random scale and shift, of the same size. Beyond its edges the patch is mirrored."""
    factor = np.exp(rng.uniform(-how.scale, how.scale))
    sides = np.array(truth.shape)
    middle = (sides - 1) / 2 + rng.uniform(-how.move, how.move, 2) * sides
    offset = middle - (sides - 1) / 2 / factor
    bands = [
        ndimage.affine_transform(band, [1 / factor, 1 / factor], offset, order=1, mode="reflect") for band in values
    ]
    return np.stack(bands), ndimage.affine_transform(truth, [1 / factor, 1 / factor], offset, order=0, mode="reflect")


def degrade_patch(image: NDArray[Any], how: Augmentation, rng: np.random.Generator) -> NDArray[Any]:
    """Return an image (bands x H x W, in the unit of its file) with random losses of quality.

    Each loss has a probability of one half. They follow the order in which images lose quality in practice:
    interpolation, blur, noise, JPEG.
    """
    is_shifted, is_blurred, is_noisy, is_compressed = rng.random(4) < 0.5
    if is_shifted:
        image = resample(image, *rng.uniform(-how.between_px, how.between_px, 2))
    if is_blurred:
        image = blur(image, rng.uniform(0, how.blur_px))
    if is_noisy:
        image = add_noise(image, how.noise_counts * rng.random(), rng)
    if is_compressed and how.jpeg_least < 100:
        image = save_as_jpeg(image, int(rng.integers(how.jpeg_least, 100)))
    return image
