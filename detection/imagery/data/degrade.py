"""Losses of quality of pictures: noise, blur, JPEG compression, and interpolation between pixels."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

COUNTS: Final = 255.0
# Strengths of the losses with which weights are tested, see `list_losses`.
NOISE_COUNTS: Final = (1.0, 2.0, 3.0, 5.0, 10.0)
JPEG_QUALITY: Final = 85
BLUR_PX: Final = 0.7
BETWEEN_PX: Final = 0.5


def measure_count(image: NDArray[Any]) -> float:
    """Return the size of one count of a picture of eight bits, in the unit of an image.

    It is 1 for uint8, and a 255th of the brightest value for other types.

    >>> measure_count(np.array([[[7]]], np.uint8)), measure_count(np.array([[[0.51]]], np.float32))
    (1.0, 0.002)
    """
    return 1.0 if image.dtype == np.uint8 else round(float(image.max(initial=0.0)) / COUNTS, 9)


def add_noise(image: NDArray[Any], counts: float, rng: np.random.Generator) -> NDArray[Any]:
    """Add normal noise to every band and pixel. `counts` is its standard deviation, see `measure_count`."""
    return _cast_like(image, image + rng.normal(0.0, counts * measure_count(image), image.shape))


def blur(image: NDArray[Any], sigma_px: float) -> NDArray[Any]:
    """Blur bands x H x W by a Gaussian."""
    return _cast_like(image, ndimage.gaussian_filter(image.astype(np.float64), (0, sigma_px, sigma_px), mode="nearest"))


def resample(image: NDArray[Any], down_px: float, right_px: float) -> NDArray[Any]:
    """Shift bands x H x W by less than a pixel by bilinear interpolation, as a reprojection does.

    >>> resample(np.array([[[0, 100, 200]]], np.uint8), 0.0, 0.5).tolist()
    [[[50, 150, 200]]]
    """
    return _cast_like(image, ndimage.shift(image.astype(np.float64), (0, -down_px, -right_px), order=1, mode="nearest"))


def save_as_jpeg(image: NDArray[Any], quality: int) -> NDArray[Any]:
    """Compress bands x H x W as JPEG: three bands as one colour picture, other numbers as grey pictures."""
    from PIL import Image

    count = measure_count(image)
    if not count > 0:
        return image
    counts = np.clip(np.rint(image / count), 0, COUNTS).astype(np.uint8)
    pictures = [counts.transpose(1, 2, 0)] if len(counts) == 3 else list(counts)
    bands = []
    for picture in pictures:
        Image.fromarray(picture).save(file := BytesIO(), "JPEG", quality=quality)
        decoded = np.asarray(Image.open(file))
        bands.append(decoded[None] if decoded.ndim == 2 else decoded.transpose(2, 0, 1))
    return _cast_like(image, np.concatenate(bands) * count)


def list_losses() -> dict[str, Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]]:
    """Return the losses with which weights are tested, by their names in cards, in the order of tables."""
    noise = {
        f"noise of {counts:g}": lambda image, rng, counts=counts: add_noise(image, counts, rng)
        for counts in NOISE_COUNTS
    }
    return noise | {
        f"JPEG of {JPEG_QUALITY}": lambda image, _: save_as_jpeg(image, JPEG_QUALITY),
        "blur": lambda image, _: blur(image, BLUR_PX),
        "bilinear": lambda image, _: resample(image, BETWEEN_PX, BETWEEN_PX),
    }


def _cast_like(image: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Convert values to the type of an image. Values are rounded and clipped if that is a type of whole numbers."""
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return np.asarray(values.astype(image.dtype))
