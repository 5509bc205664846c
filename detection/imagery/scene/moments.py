"""Mean and spread of the values around each pixel: taken off, no offset and no factor of a scene is left."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOCAL_STANDARD = "local-standard"
"""The stretch that takes the mean nearby off each band and divides by the standard deviation nearby."""
# No band is divided by less than this share of what the rougher blocks of the scene have: calm water, though it be most
# of a scene, would become noise.
LEAST_SHARE = 0.25
ROUGH_QUANTILE = 0.9
LEAST_STD = 1e-6
# In standard deviations: one roof or one broken pixel says no more than that.
MOST = 4.0


def standardise(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give every band of a patch (bands x H x W) mean 0 and standard deviation 1; what is not known becomes 0.

    >>> ramp, every = np.linspace(100, 300, 100, dtype=np.float32).reshape(1, 10, 10), np.ones((10, 10), bool)
    >>> bool(np.allclose(standardise(ramp, every), standardise(7 * ramp + 1000, every), atol=1e-5))
    True
    """
    if not known.any():
        return np.zeros_like(values)
    kept = values if known.all() else values[:, known][:, None]
    mean, std = kept.mean(axis=(1, 2), keepdims=True), kept.std(axis=(1, 2), keepdims=True)
    standard = np.clip((values - mean) / np.maximum(std, np.float32(LEAST_STD)), -MOST, MOST)
    return np.asarray(np.where(known, standard, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the blocks of a scene."""

    count: NDArray[np.float64]  # valid pixels, rows x columns of blocks
    total: NDArray[np.float64]  # sum of each band, bands x rows x columns
    square: NDArray[np.float64]  # sum of its squares
    block_px: int  # side of a block

    def standardise(self, values: NDArray[np.float32], column: int, row: int) -> NDArray[np.float32]:
        """Take the mean nearby off, and divide by the standard deviation nearby, without joins between the blocks.

        Args:
            values: bands x H x W.
            column: of the first pixel in the scene.
        """

        def around(sums: NDArray[np.float64]) -> NDArray[np.float32]:
            return interpolate(sums, (row, values.shape[1]), (column, values.shape[2]), self.block_px)

        found, share = np.empty(values.shape, np.float32), 1 / np.maximum(around(self.count), np.float32(LEAST_STD))
        for band, least in enumerate(self._least()):
            # from the middle of the scene on, so that little is lost where a square is taken off a square
            middle = np.float32(self.total[band].sum() / max(1.0, self.count.sum()))
            total, square = self.total[band], self.square[band]
            mean = around(total - middle * self.count) * share
            spread = around(square - 2 * float(middle) * total + float(middle) ** 2 * self.count) * share
            spread -= mean * mean
            np.sqrt(np.maximum(spread, np.float32(least**2), out=spread), out=spread)
            np.subtract(values[band], middle, out=found[band])
            found[band] -= mean
            found[band] /= spread
        return np.clip(found, -MOST, MOST, out=found)

    def _least(self) -> NDArray[np.float64]:
        full = self.count >= 0.25 * self.count.max()
        mean, square = (sums[:, full] / self.count[full] for sums in (self.total, self.square))
        rough = np.quantile(np.sqrt(np.maximum(square - mean**2, 0)), ROUGH_QUANTILE, axis=1)
        return np.asarray(np.maximum(LEAST_SHARE * rough, LEAST_STD))


def sum_blocks(values: NDArray[np.float64], block_px: int) -> NDArray[np.float64]:
    """Sum ... x H x W over blocks; those at the far edges may be smaller.

    >>> sum_blocks(np.ones((3, 5)), 2).tolist()
    [[4.0, 4.0, 2.0], [2.0, 2.0, 1.0]]
    """
    for axis in (-2, -1):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], block_px), axis=axis)
    return values


def interpolate(
    field: NDArray[np.floating], rows: tuple[int, int], columns: tuple[int, int], block_px: int
) -> NDArray[np.float32]:
    """Bilinear between block centres, constant beyond the outermost ones; `rows` and `columns` are (start, count).

    >>> interpolate(np.array([[0.0, 4.0]]), (0, 1), (0, 8), 4).round(1).tolist()
    [[0.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.0]]
    """
    across = _blend(field.astype(np.float64).T, *columns, block_px).T  # without BLAS, whose threads wait for each other
    return _blend(across, *rows, block_px, np.float32)


def _blend(field: NDArray[np.float64], start: int, count: int, block_px: int, kind: Any = np.float64) -> NDArray[Any]:
    place = np.clip((np.arange(start, start + count) + 0.5) / block_px - 0.5, 0, len(field) - 1)
    above = np.minimum(place.astype(int), max(0, len(field) - 2))
    found: NDArray[Any] = np.diff(field, axis=0, append=field[-1:]).astype(kind)[above]
    found *= (place - above).astype(kind)[:, None]
    found += field.astype(kind)[above]
    return found
