"""From counts in a file to the values that a network was trained on: the stretch contract of a model's card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from detection.imagery.errors import ModelError, NoValidPixelsError, RadiometryError
from detection.imagery.raster import BandReader

STRIP = 512
# Medians are taken over about this many pixels per band.
SAMPLE = 1_000_000
# How far the scene's median may lie outside of the training range.
SLACK = 4.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """How the values of one scene become model values; depends on the scene, never on the tiles.

    Attributes:
        scale: factor on all values (`reflectance`); 1 for `local-max`.
        maxima: for `local-max`, the greatest value of any band per block of `block_px`, else None.
        block_px: side of those blocks.
        valid_share: share of the scene's pixels that are valid.
    """

    scale: float
    maxima: NDArray[np.float32] | None
    block_px: int
    valid_share: float

    def apply(self, values: NDArray[np.float32], column: int, row: int) -> NDArray[np.float32]:
        """Stretch bands x H x W whose first pixel is (column, row) of the scene."""
        if self.maxima is None:
            return values * np.float32(self.scale)
        height, width = values.shape[1:]
        brightest = _interpolate(self.maxima, (row, height), (column, width), self.block_px)
        return np.asarray(np.clip(values / brightest, 0, 1), np.float32)


def measure_stretch(reader: BandReader, card: Mapping[str, Any], scale: float | None = None) -> Stretch:
    """Read the scene once, strip by strip, and fix its stretch.

    `reflectance` multiplies by a constant. `local-max` divides by the brightest value nearby, interpolated between
    blocks of the size of the training patches: what the patches' own stretch did, without joins.

    Args:
        reader: the bands of the model, in its order.
        card: the model's card.
        scale: replaces the card's constant and waives the check of the range.

    Raises:
        NoValidPixelsError: nothing to look at.
        RadiometryError: medians far outside of the training range: most often a wrong scale.
        ModelError: the card names an unknown stretch.
    """
    kind = card["radiometry"]["stretch"]
    if kind not in {"reflectance", "local-max"}:
        raise ModelError(f"the card of {card['name']} names the unknown stretch {kind!r}")
    block_px = int(card["radiometry"].get("block_px", 128))
    width, height = reader.grid.width, reader.grid.height
    maxima = np.zeros((-(-height // block_px), -(-width // block_px)), np.float32)
    step = max(1, int(np.sqrt(width * height / SAMPLE)))
    strip = max(1, STRIP // block_px) * block_px
    valid_pixels, samples = 0, []
    for row in range(0, height, strip):
        values, valid = reader.read(0, row, width, min(strip, height - row))
        valid_pixels += int(np.count_nonzero(valid))
        samples.append(values[:, ::step, ::step][:, valid[::step, ::step]])
        brightest = values.max(axis=0)
        rows, columns = np.arange(0, brightest.shape[0], block_px), np.arange(0, width, block_px)
        blocks = np.maximum.reduceat(np.maximum.reduceat(brightest, rows, axis=0), columns, axis=1)
        maxima[row // block_px : row // block_px + len(rows)] = blocks
    if not valid_pixels:
        raise NoValidPixelsError("all pixels of the scene are nodata")
    stretch = Stretch(
        scale=(card["radiometry"]["scale"] if scale is None else scale) if kind == "reflectance" else 1.0,
        maxima=_fill_gaps(maxima) if kind == "local-max" else None,
        block_px=block_px,
        valid_share=valid_pixels / (width * height),
    )
    sample = np.concatenate(samples, axis=1)
    if stretch.maxima is None and scale is None and sample.size:
        _check_range(np.median(sample, axis=1) * stretch.scale, card)
    return stretch


def _check_range(medians: NDArray[np.floating], card: Mapping[str, Any]) -> None:
    for name, median, (low, high) in zip(card["bands"], medians, card["normalisation"]["value_range"], strict=True):
        if not low / SLACK <= median <= high * SLACK:
            raise RadiometryError(
                f"band {name}: median {median:.4g} after the scale of {card['name']}, which was trained on "
                f"{low:.4g} to {high:.4g}; give `scale` if the values have another unit"
            )


def _fill_gaps(maxima: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give blocks without a valid pixel the value of the nearest block that has one."""
    empty = maxima <= 0
    if empty.all():
        return np.ones_like(maxima)
    nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    return np.asarray(maxima[tuple(nearest)])


def _interpolate(
    maxima: NDArray[np.float32], rows: tuple[int, int], columns: tuple[int, int], block_px: int
) -> NDArray[np.float32]:
    """Bilinear between block centres, constant beyond the outermost ones; `rows` and `columns` are (start, count)."""
    field = maxima.astype(np.float64)
    for axis, (start, count) in enumerate((rows, columns)):
        last = maxima.shape[axis] - 1
        place = np.clip((np.arange(start, start + count) + 0.5) / block_px - 0.5, 0, last)
        lower = np.minimum(place.astype(int), max(last - 1, 0))
        share = (place - lower).reshape((-1, 1) if axis == 0 else (1, -1))
        field = field.take(lower, axis) * (1 - share) + field.take(np.minimum(lower + 1, last), axis) * share
    return field.astype(np.float32)
