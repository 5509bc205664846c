"""A scene read on larger or smaller pixels over the same ground."""

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
"""Values bands x height x width of a window (column, row, width, height), and where they are valid."""
# Pixels that differ by less are read as they are: at 0.9, 1.1 and 1.25 times those of its training `bijie` gains
# nothing by being shown others, at 1.33 times it does.
TOLERANCE: Final = 1.26
# Up to here the two nearest centres make a pixel: at twice the size they are their mean. `bijie` was trained on crops
# made smaller so; the mean of all below is more blurred than they are, and worse by .02 F1 at half as large again.
BETWEEN_MOST: Final = 2.05
# A pixel lies under another only where it covers more of it than rounding does.
LEAST_SHARE: Final = 1e-6
# So many pixels of the scene are held at a time.
STRIP_PX: Final = 1 << 20


def find_pixels(pixel_m: float, card: ModelCard) -> float | None:
    """Return the pixel size in metres that an image is brought to for a network; None where it is read as it is.

    `card`: `other_pixels` says from which sizes an image may be brought to those of its training.

    >>> card = {"pixel_size_m": 1.2, "other_pixels": {"finest_m": 0.6, "coarsest_m": 2.4, "coarse_at_m": 1.0}}
    >>> [find_pixels(pixel_m, card) for pixel_m in (0.3, 0.6, 1.0, 1.2, 1.5, 2.4, 3.0)]
    [None, 1.2, None, None, None, 1.0, None]
    """
    carries = card.get("other_pixels")
    # a hundredth more or less is how a projection has it
    if not carries or not carries["finest_m"] / 1.01 <= pixel_m <= carries["coarsest_m"] * 1.01:
        return None
    trained_m = float(card["pixel_size_m"])
    if 1 / TOLERANCE <= pixel_m / trained_m <= TOLERANCE:
        return None
    return trained_m if pixel_m < trained_m else float(carries["coarse_at_m"])


class ReadAt(NamedTuple):
    """The grid on which a network reads a scene that has other pixels."""

    pixel_m: float  # side of a pixel on the ground
    width: int  # columns
    height: int  # rows
    step_px: list[float]  # how many pixels of the scene one of these is wide and high


class ResizedReader:
    """Reads a scene on a grid from the same corner in the same directions: `BandReader` for whoever maps it.

    Each pixel depends on its place alone, bit for bit, and not on the window that asks for it.
    """

    def __init__(self, reader: BandReader, grid: Grid) -> None:
        self._reader, self.grid = reader, grid
        self.names, self.in_tiles = reader.names, reader.in_tiles

    def read(self, column: int, row: int, width: int, height: int) -> Pixels:
        """Read a window of the grid; see `BandReader.read`."""
        return resample(self._reader.read, self._reader.grid, self.grid, (column, row, width, height))

    def explain_empty(self) -> str:
        """Return why no pixel is valid; see `BandReader.explain_empty`."""
        return self._reader.explain_empty()


def fit_pixels(reader: BandReader, card: ModelCard) -> tuple[BandReader, ReadAt | None]:
    """Return what the network reads: the scene itself, or the scene on other pixels, and on which."""
    pixel_m = find_pixels(geodesic_pixel_m2(reader.grid) ** 0.5, card) if reader.grid.placed else None
    if pixel_m is None:
        return reader, None
    grid = resample_grid(reader.grid, pixel_m)
    read_at = ReadAt(pixel_m, grid.width, grid.height, list(measure_steps(reader.grid, grid)))
    return cast("BandReader", ResizedReader(reader, grid)), read_at


def describe_pixels(at_m: float, grid: Grid, card: ModelCard) -> Reason:
    """Return the caution on a scene that was read on pixels of another size than its own."""
    pixel_m, trained_m = geodesic_pixel_m2(grid) ** 0.5, float(card["pixel_size_m"])
    if pixel_m < trained_m:
        return Reason("pixels.read_at", {"at": at_m, "pixel": pixel_m})
    return Reason("pixels.read_near", {"at": at_m, "trained": trained_m, "pixel": pixel_m})


def resample(read: Read, source: Grid, target: Grid, window: tuple[int, int, int, int]) -> Pixels:
    """Return a window of `target`: values bands x height x width, 0 where not valid, and where they are valid.

    Along each axis a pixel is interpolated between the two nearest centres, or, where it is more than twice as large,
    the mean of those below it, by the share of it that they cover. What is not valid does not count: a larger pixel is
    valid where any of those that make it is, a smaller one where that below its centre is.

    Args:
        source: the grid that is read.
        target: from the same corner, with the same axes.
        window: column, row, width, height on `target`.
    """
    right, down = measure_steps(source, target)
    column, row, width, height = window
    across = _find_taps(column, width, right, source.width)
    strip = max(1, int(STRIP_PX / (max(1.0, down) * max(1.0, right) * width)))
    parts = [
        _read_strip(read, across, _find_taps(top, min(strip, row + height - top), down, source.height))
        for top in range(row, row + height, strip)
    ]
    values, valid = (np.concatenate(one, axis=axis) for one, axis in zip(zip(*parts, strict=True), (1, 0), strict=True))
    return np.asarray(values, np.float32), np.asarray(valid, bool)


def measure_steps(source: Grid, target: Grid) -> tuple[float, float]:
    """How many pixels of `source` a pixel of `target` is wide and high."""
    (a, b, _, d, e), (a_2, b_2, _, d_2, e_2) = (grid.transform[:5] for grid in (source, target))
    return float(np.hypot(a_2, d_2)) / float(np.hypot(a, d)), float(np.hypot(b_2, e_2)) / float(np.hypot(b, e))


class _Taps(NamedTuple):
    """Which k pixels along an axis make each of n others, how much each counts, and which may make it valid."""

    places: NDArray[np.int64]
    weights: NDArray[np.float32]
    needed: NDArray[np.bool_]


def _find_taps(start: int, count: int, step: float, length: int) -> _Taps:
    """Of `count` pixels from `start` on, each `step` pixels of a source of `length` wide.

    >>> taps = _find_taps(0, 1, 2.5, 9)
    >>> taps.places.tolist(), taps.weights.tolist()
    ([[0, 1, 2, 3]], [[1.0, 1.0, 0.5, 0.0]])
    >>> taps = _find_taps(1, 1, 0.5, 3)
    >>> taps.places.tolist(), taps.weights.tolist(), taps.needed.tolist()
    ([[0, 1]], [[0.75, 0.25]], [[True, False]])
    """
    number = np.arange(start, start + count)[:, None]
    if step > BETWEEN_MOST:
        first, last = number * step, (number + 1) * step
        places = np.floor(first).astype(np.int64) + np.arange(int(np.ceil(step)) + 1)
        weights = np.maximum(np.minimum(last, places + 1) - np.maximum(first, places), 0)
        weights[(places < 0) | (places >= length)] = 0
    else:
        centre = (number + 0.5) * step
        places = np.floor(centre - 0.5).astype(np.int64) + np.arange(2)
        weights = np.maximum(1 - np.abs(centre - 0.5 - places), 0)
    needed = weights > LEAST_SHARE if step > 1 else places == np.floor(centre)
    return _Taps(np.clip(places, 0, length - 1), weights.astype(np.float32), needed)


def _read_strip(read: Read, across: _Taps, down: _Taps) -> Pixels:
    left, top = int(across.places.min()), int(down.places.min())
    values, valid = read(left, top, int(across.places.max()) + 1 - left, int(down.places.max()) + 1 - top)
    known = np.concatenate([np.where(valid, values, 0), valid[None]]).astype(np.float32)
    sums = _add_up(_add_up(known, down, top, axis=1), across, left, axis=2)
    there = _find_any(_find_any(valid, down, top, axis=0), across, left, axis=1)
    return np.where(there, sums[:-1] / np.where(there, sums[-1], 1), np.float32(0)), there


def _add_up(values: NDArray[np.float32], taps: _Taps, start: int, *, axis: int) -> NDArray[np.float32]:
    """Tap by tap, so that no sum depends on how many are made at once."""
    shape = [-1 if number == axis else 1 for number in range(values.ndim)]
    terms = (
        values.take(p - start, axis) * w.reshape(shape) for p, w in zip(taps.places.T, taps.weights.T, strict=True)
    )
    total = np.asarray(next(terms), np.float32)
    for term in terms:
        total += term
    return total


def _find_any(valid: NDArray[np.bool_], taps: _Taps, start: int, *, axis: int) -> NDArray[np.bool_]:
    shape = [-1 if number == axis else 1 for number in range(valid.ndim)]
    pairs = zip(taps.places.T, taps.needed.T, strict=True)
    found = [valid.take(places - start, axis) & needed.reshape(shape) for places, needed in pairs]
    return np.asarray(np.logical_or.reduce(found))
