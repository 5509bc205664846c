"""Read a scene on larger or smaller pixels over the same ground.

`rasterio.vrt.WarpedVRT` would read the files without the masks, fills and borders that `BandReader` applies, so
`resample` works on the arrays of a `BandReader`. Its values are those of a `WarpedVRT` with bilinear resampling and
`XSCALE=YSCALE=1`, or with resampling `average` above `MOST_INTERPOLATED_STEP`. They do not depend on the window, bit
for bit, and a larger pixel beside nodata stays valid.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from detection.imagery.raster.areas import geodesic_pixel_m2, resample_grid
from detection.imagery.raster.grid import Grid
from detection.imagery.scene.reader import BandReader
from detection.imagery.weights_file import ModelCard
from detection.reasons import Reason

Pixels = tuple[NDArray[np.float32], NDArray[np.bool_]]
Read = Callable[[int, int, int, int], Pixels]
"""Read a window (column, row, width, height): values bands x height x width, and where they are valid."""
# Pixels whose size differs by less than this factor are read as they are: at 0.9, 1.1 and 1.25 times the size of its
# training `bijie` gains nothing from resampling, at 1.33 times it does.
TOLERANCE: Final = 1.26
# Up to this step, in pixels of the scene, a pixel is interpolated between the two nearest centres along each axis: at
# twice the size it is their mean. `bijie` was trained on crops that were reduced in this way. The mean of all pixels
# below is more blurred, and costs .02 F1 at 1.5 times the size.
MOST_INTERPOLATED_STEP: Final = 2.05
# A pixel covers another one only by more than this share of it; a smaller share is rounding.
LEAST_SHARE: Final = 1e-6
# Greatest number of pixels of the scene in memory at a time.
STRIP_PX: Final = 1 << 20


def choose_pixel_m(pixel_m: float, card: ModelCard) -> float | None:
    """Return the pixel size in metres to which an image is resampled for a network; None if it is read as it is.

    Args:
        pixel_m: pixel size of the image, metres.
        card: card of the network. `other_pixels` contains the sizes from which an image may be resampled.

    >>> card = {"pixel_size_m": 1.2, "other_pixels": {"finest_m": 0.6, "coarsest_m": 2.4, "coarse_at_m": 1.0}}
    >>> [choose_pixel_m(pixel_m, card) for pixel_m in (0.3, 0.6, 1.0, 1.2, 1.5, 2.4, 3.0)]
    [None, 1.2, None, None, None, 1.0, None]
    """
    allowed = card.get("other_pixels")
    # a projection changes the size of pixels by up to a hundredth
    if not allowed or not allowed["finest_m"] / 1.01 <= pixel_m <= allowed["coarsest_m"] * 1.01:
        return None
    trained_m = float(card["pixel_size_m"])
    if 1 / TOLERANCE <= pixel_m / trained_m <= TOLERANCE:
        return None
    return trained_m if pixel_m < trained_m else float(allowed["coarse_at_m"])


class ReadAt(NamedTuple):
    """The grid on which a network reads a scene whose pixels have another size."""

    pixel_m: float  # side of a pixel on the ground, metres
    width: int  # columns
    height: int  # rows
    step_px: list[float]  # width and height of a pixel in pixels of the scene


class ResizedReader:
    """Read a scene on a grid with the same corner and axes; replaces `BandReader` for a network.

    The value of a pixel does not depend on the window that contains it, bit for bit.
    """

    def __init__(self, reader: BandReader, grid: Grid) -> None:
        self._reader = reader
        self.grid = grid
        self.names = reader.names
        self.in_tiles = reader.in_tiles

    def read(self, column: int, row: int, width: int, height: int) -> Pixels:
        """Read a window of the grid; see `BandReader.read`."""
        return resample(self._reader.read, self._reader.grid, self.grid, (column, row, width, height))

    def explain_empty(self) -> str:
        """Return why no pixel is valid; see `BandReader.explain_empty`."""
        return self._reader.explain_empty()


def fit_to_network(reader: BandReader, card: ModelCard) -> tuple[BandReader, ReadAt | None]:
    """Return the reader for a network: that of the scene, or one on larger or smaller pixels with their description."""
    pixel_m = choose_pixel_m(geodesic_pixel_m2(reader.grid) ** 0.5, card) if reader.grid.placed else None
    if pixel_m is None:
        return reader, None
    grid = resample_grid(reader.grid, pixel_m)
    read_at = ReadAt(pixel_m, grid.width, grid.height, list(measure_steps(reader.grid, grid)))
    return cast("BandReader", ResizedReader(reader, grid)), read_at


def describe_pixels(read_m: float, grid: Grid, card: ModelCard) -> Reason:
    """Return the caution for a scene that was read on pixels of another size.

    Args:
        read_m: pixel size on which the network read the scene, metres.
        grid: of the scene.
        card: of the network.
    """
    pixel_m, trained_m = geodesic_pixel_m2(grid) ** 0.5, float(card["pixel_size_m"])
    if pixel_m < trained_m:
        return Reason("pixels.read_at", {"at": read_m, "pixel": pixel_m})
    return Reason("pixels.read_near", {"at": read_m, "trained": trained_m, "pixel": pixel_m})


def resample(read: Read, source: Grid, target: Grid, window: tuple[int, int, int, int]) -> Pixels:
    """Read a window of another grid: values bands x height x width, 0 where invalid, and where they are valid.

    Along each axis a pixel is interpolated between the two nearest centres. If it is more than twice as large
    (`MOST_INTERPOLATED_STEP`), it is the mean of the pixels below it, weighted by the share that they cover. Invalid
    pixels do not count. A larger pixel is valid if any pixel below it is valid, a smaller pixel if the pixel at its
    centre is valid.

    Args:
        read: reads a window of `source`.
        source: the grid that is read.
        target: a grid with the same corner and axes.
        window: column, row, width and height on `target`.
    """
    right, down = measure_steps(source, target)
    column, row, width, height = window
    across = _find_taps(column, width, right, source.width)
    strip_rows = max(1, int(STRIP_PX / (max(1.0, down) * max(1.0, right) * width)))
    values: list[NDArray[np.float32]] = []
    valid: list[NDArray[np.bool_]] = []
    for top in range(row, row + height, strip_rows):
        taps = _find_taps(top, min(strip_rows, row + height - top), down, source.height)
        strip_values, strip_valid = _read_strip(read, across, taps)
        values.append(strip_values)
        valid.append(strip_valid)
    return np.concatenate(values, axis=1), np.concatenate(valid, axis=0)


def measure_steps(source: Grid, target: Grid) -> tuple[float, float]:
    """Return the width and height of a pixel of `target` in pixels of `source`."""
    (a, b, _, d, e), (a_2, b_2, _, d_2, e_2) = (grid.transform[:5] for grid in (source, target))
    return float(np.hypot(a_2, d_2)) / float(np.hypot(a, d)), float(np.hypot(b_2, e_2)) / float(np.hypot(b, e))


class _Taps(NamedTuple):
    """The k source pixels along an axis from which each of n target pixels is computed; all arrays are n x k."""

    places: NDArray[np.int64]  # indices of the source pixels
    weights: NDArray[np.float32]  # how much each counts
    decisive: NDArray[np.bool_]  # whether its validity makes the target pixel valid


def _find_taps(start: int, count: int, step: float, length: int) -> _Taps:
    """Return the taps of `count` target pixels from index `start` on, each `step` pixels of the source wide.

    `length` is the number of source pixels along the axis.

    >>> taps = _find_taps(0, 1, 2.5, 9)
    >>> taps.places.tolist(), taps.weights.tolist()
    ([[0, 1, 2, 3]], [[1.0, 1.0, 0.5, 0.0]])
    >>> taps = _find_taps(1, 1, 0.5, 3)
    >>> taps.places.tolist(), taps.weights.tolist(), taps.decisive.tolist()
    ([[0, 1]], [[0.75, 0.25]], [[True, False]])
    """
    number = np.arange(start, start + count)[:, None]
    if step > MOST_INTERPOLATED_STEP:
        first, last = number * step, (number + 1) * step
        places = np.floor(first).astype(np.int64) + np.arange(int(np.ceil(step)) + 1)
        weights = np.maximum(np.minimum(last, places + 1) - np.maximum(first, places), 0)
        weights[(places < 0) | (places >= length)] = 0
    else:
        centre = (number + 0.5) * step
        places = np.floor(centre - 0.5).astype(np.int64) + np.arange(2)
        weights = np.maximum(1 - np.abs(centre - 0.5 - places), 0)
    decisive = weights > LEAST_SHARE if step > 1 else places == np.floor(centre)
    return _Taps(np.clip(places, 0, length - 1), weights.astype(np.float32), decisive)


def _read_strip(read: Read, across: _Taps, down: _Taps) -> Pixels:
    left, top = int(across.places.min()), int(down.places.min())
    values, valid = read(left, top, int(across.places.max()) + 1 - left, int(down.places.max()) + 1 - top)
    # the validity is one more band, so that its sums are the sums of the weights
    bands = np.concatenate([np.where(valid, values, 0), valid[None]]).astype(np.float32)
    sums = _add_weighted(_add_weighted(bands, down, top, axis=1), across, left, axis=2)
    target_valid = _find_any_valid(_find_any_valid(valid, down, top, axis=0), across, left, axis=1)
    weights = np.where(target_valid, sums[-1], 1)
    return np.where(target_valid, sums[:-1] / weights, np.float32(0)), target_valid


def _add_weighted(values: NDArray[np.float32], taps: _Taps, start: int, *, axis: int) -> NDArray[np.float32]:
    """Add the weighted source pixels of each target pixel along an axis, whose first source pixel is `start`.

    The order of the sum is that of the taps, so it does not depend on how many target pixels are computed at once.
    """
    shape = [-1 if number == axis else 1 for number in range(values.ndim)]
    total: NDArray[np.float32] | None = None
    for places, weights in zip(taps.places.T, taps.weights.T, strict=True):
        term = values.take(places - start, axis) * weights.reshape(shape)
        if total is None:
            total = term
        else:
            total += term
    assert total is not None
    return total


def _find_any_valid(valid: NDArray[np.bool_], taps: _Taps, start: int, *, axis: int) -> NDArray[np.bool_]:
    shape = [-1 if number == axis else 1 for number in range(valid.ndim)]
    decisive_valid = [
        valid.take(places - start, axis) & decisive.reshape(shape)
        for places, decisive in zip(taps.places.T, taps.decisive.T, strict=True)
    ]
    return np.asarray(np.logical_or.reduce(decisive_valid))
