"""Standardise bands by the mean and standard deviation nearby, which removes any offset and factor of a scene."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOCAL_STANDARD = "local-standard"
"""The stretch that subtracts the mean nearby from each band and divides by the standard deviation nearby."""
# A band is divided by at least this share of the standard deviation in the rougher blocks of the scene. Otherwise the
# noise of calm water would be amplified, also if water covers most of the scene.
LEAST_STD_SHARE = 0.25
ROUGH_QUANTILE = 0.9
LEAST_STD = 1e-6
# Greatest standardised value, so that one roof or one broken pixel has a bounded effect.
MOST_DEVIATIONS = 4.0


def standardise(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give every band of a patch (bands x H x W) mean 0 and standard deviation 1; invalid pixels become 0.

    >>> ramp, every = np.linspace(100, 300, 100, dtype=np.float32).reshape(1, 10, 10), np.ones((10, 10), bool)
    >>> bool(np.allclose(standardise(ramp, every), standardise(7 * ramp + 1000, every), atol=1e-5))
    True
    """
    if not valid.any():
        return np.zeros_like(values)
    sample = values if valid.all() else values[:, valid][:, None]
    mean = sample.mean(axis=(1, 2), keepdims=True)
    std = sample.std(axis=(1, 2), keepdims=True)
    standard = np.clip((values - mean) / np.maximum(std, np.float32(LEAST_STD)), -MOST_DEVIATIONS, MOST_DEVIATIONS)
    return np.asarray(np.where(valid, standard, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the blocks of a scene, from which mean and standard deviation follow."""

    count: NDArray[np.float64]  # valid pixels, rows x columns of blocks
    total: NDArray[np.float64]  # sum of each band, bands x rows x columns
    square: NDArray[np.float64]  # sum of its squares
    block_px: int  # side of a block

    def standardise(self, values: NDArray[np.float32], column: int, row: int) -> NDArray[np.float32]:
        """Subtract the mean nearby and divide by the standard deviation nearby. No edges of blocks become visible.

        Args:
            values: bands x H x W.
            column: of the first pixel in the scene.
            row: of the first pixel in the scene.
        """

        def interpolate_sums(sums: NDArray[np.float64]) -> NDArray[np.float32]:
            return interpolate(sums, (row, values.shape[1]), (column, values.shape[2]), self.block_px)

        standard = np.empty(values.shape, np.float32)
        inverse_count = 1 / np.maximum(interpolate_sums(self.count), np.float32(LEAST_STD))
        for band, least_std in enumerate(self._find_least_std()):
            # values are relative to the mean of the scene, so that the difference of two squares loses few digits
            scene_mean = np.float32(self.total[band].sum() / max(1.0, self.count.sum()))
            total, square = self.total[band], self.square[band]
            mean = interpolate_sums(total - scene_mean * self.count) * inverse_count
            square_from_mean = square - 2 * float(scene_mean) * total + float(scene_mean) ** 2 * self.count
            variance = interpolate_sums(square_from_mean) * inverse_count
            variance -= mean * mean
            std = np.sqrt(np.maximum(variance, np.float32(least_std**2), out=variance), out=variance)
            np.subtract(values[band], scene_mean, out=standard[band])
            standard[band] -= mean
            standard[band] /= std
        return np.clip(standard, -MOST_DEVIATIONS, MOST_DEVIATIONS, out=standard)

    def _find_least_std(self) -> NDArray[np.float64]:
        is_full = self.count >= 0.25 * self.count.max()  # blocks with few valid pixels do not count
        mean, square = (sums[:, is_full] / self.count[is_full] for sums in (self.total, self.square))
        rough = np.quantile(np.sqrt(np.maximum(square - mean**2, 0)), ROUGH_QUANTILE, axis=1)
        return np.asarray(np.maximum(LEAST_STD_SHARE * rough, LEAST_STD))


def sum_blocks(values: NDArray[np.float64], block_px: int) -> NDArray[np.float64]:
    """Return the sums of values (... x H x W) over blocks; blocks at the right and lower edge may be smaller.

    >>> sum_blocks(np.ones((3, 5)), 2).tolist()
    [[4.0, 4.0, 2.0], [2.0, 2.0, 1.0]]
    """
    for axis in (-2, -1):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], block_px), axis=axis)
    return values


def interpolate(
    field: NDArray[np.floating], rows: tuple[int, int], columns: tuple[int, int], block_px: int
) -> NDArray[np.float32]:
    """Interpolate bilinearly between block centres; beyond the outermost centres the field is constant.

    Args:
        field: rows x columns of blocks.
        rows: first row of pixels and their number.
        columns: first column of pixels and their number.
        block_px: side of a block.

    >>> interpolate(np.array([[0.0, 4.0]]), (0, 1), (0, 8), 4).round(1).tolist()
    [[0.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.0]]
    """
    # no matrix product, because the threads of BLAS would wait for each other
    across = _blend(field.astype(np.float64).T, *columns, block_px).T
    return _blend(across, *rows, block_px, np.float32)


def _blend(field: NDArray[np.float64], start: int, count: int, block_px: int, kind: Any = np.float64) -> NDArray[Any]:
    place = np.clip((np.arange(start, start + count) + 0.5) / block_px - 0.5, 0, len(field) - 1)
    above = np.minimum(place.astype(int), max(0, len(field) - 2))
    blended: NDArray[Any] = np.diff(field, axis=0, append=field[-1:]).astype(kind)[above]
    blended *= (place - above).astype(kind)[:, None]
    blended += field.astype(kind)[above]
    return blended
