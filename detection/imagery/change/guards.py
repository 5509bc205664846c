"""Guards of change: are two dates laid on each other, and of one season? Measured on the images, not on the maps."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.imagery.change.records import KeptDate, Measured
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, strips
from detection.imagery.scene.registration import Edges, Shift, measure_shift, median_ratios
from detection.imagery.scene.scene import Scene, read_scene, take_heights
from detection.imagery.scene.white import COLOURS

# Above this shift between two images no change is claimed, pixels.
SHIFT_MOST_PX = 1.5
# Share of landslide pixels before over the share after beyond which the two dates do not compare.
SHARE_RATIO = 5.0
# Medians of a band may differ by this factor between two dates of one season: below the 1.26 to 1.44 of the measured
# pair of two seasons.
MEDIAN_RATIO = 1.25
# So many pixels give the medians, and so many bands.
SAMPLE = 400_000
BANDS_MOST = 4
Block = tuple[NDArray[np.float32], NDArray[np.bool_]]  # values, and where they are valid


def scene_of(date: KeptDate) -> Scene:
    """Return the scene of a date by its `scene_path`.

    Raises:
        ImageryError: its files are gone.
    """
    scene = read_scene(Path(date.scene_path), date.acquired_at)
    return take_heights(replace(scene, dem=Path(date.dem))) if date.dem else scene


def as_it_came(date: KeptDate) -> KeptDate:
    """The same with the image as it came: guards are measured on that, never on what was made of it."""
    return date if date.came_path is None else replace(date, scene_path=date.came_path)


def list_before(newer: KeptDate, earlier: Iterable[KeptDate]) -> list[KeptDate]:
    """The dates before another one, the newest first."""
    before = [one for one in earlier if one.acquired_at < newer.acquired_at]
    return sorted(before, key=lambda one: (one.acquired_at, one.scene_hash), reverse=True)


def tell_measured(
    date: KeptDate, shift: Shift | None, ratios: tuple[float, ...] | None, cautions: Sequence[str]
) -> Measured:
    """What was measured between a newer date and this one, for the record."""
    claimed = shift is None or shift.px <= SHIFT_MOST_PX
    moved = None if shift is None else asdict(shift)
    return Measured(date.scene_hash, date.acquired_at, moved, ratios, tuple(cautions), claimed)


def lay_together(newer: "Image", older: "Image") -> tuple[Shift | None, tuple[float, ...] | None]:
    """Measure the shift between the images of two dates, and the ratios of their bands' medians (newer over older).

    Raises:
        ImageryError: an image cannot be read.
        KeyError: the dates have no band in common.
    """
    names = [name for name in newer.scene.bands if name in older.scene.bands]
    if not names:
        raise KeyError("no band in common")
    names.sort(key=lambda name: (name != "B4", name))

    def read(*box: int) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
        (now, valid), (then, also) = (image.read(names[0], *box) for image in (newer, older))
        return now, then, valid & also

    shift = measure_shift(read, newer.grid.width, newer.grid.height, newer.edges.setdefault(names[0], {}))
    pairs = [(newer.sample(name), older.sample(name)) for name in names[:BANDS_MOST]]
    valid = np.logical_and.reduce([v for pair in pairs for _, v in pair])
    now, then = (np.stack([pair[which][0] for pair in pairs]) for which in (0, 1))
    return shift, median_ratios(now, then, valid)


def find_season(ratios: tuple[float, ...] | None, before: float, after: float) -> list[str]:
    """Return what speaks against one season, from medians and from the landslide shares before and after.

    >>> find_season((1.1, 0.9), 0.01, 0.004), find_season((1.4,), 0.06, 0.01)[1]
    ([], 'season or radiometry differs (landslide share 6.00% before, 1.00% after)')
    """
    found = []
    if ratios is not None and any(not 1 / MEDIAN_RATIO <= ratio <= MEDIAN_RATIO for ratio in ratios):
        found.append(f"season or radiometry differs (medians of the bands by {', '.join(map(str, ratios))})")
    if before > SHARE_RATIO * after and before > 0:
        found.append(f"season or radiometry differs (landslide share {before:.2%} before, {after:.2%} after)")
    return found


def landslide_shares(pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], least: int) -> tuple[float, float]:
    """Return the landslide shares (before, after) of the pixels that both dates show; pairs are (newer, older)."""
    joint = before = after = 0
    for now, then in pairs:
        both = (now != NODATA) & (then != NODATA)
        joint += int(np.count_nonzero(both))
        before += int(np.count_nonzero(both & (then >= least)))
        after += int(np.count_nonzero(both & (now >= least)))
    return before / max(1, joint), after / max(1, joint)


class Image(ExitStack):
    """The image of one date on the newer grid; what was read is kept, for the newer one is laid on several others.

    Its files are opened when they are first asked for: an image that is gone is the guard's trouble. Use as a context
    manager.
    """

    def __init__(self, date: KeptDate, grid: Grid) -> None:
        super().__init__()
        self._date, self.grid = date, grid
        self._layers: dict[str, Layer] = {}
        self._blocks: dict[tuple[str, int, int, int, int], Block] = {}
        self._samples: dict[str, Block] = {}
        self.edges: dict[str, Edges] = {}  # by band

    @cached_property
    def scene(self) -> Scene:
        """The scene, as `scene_of` gives it."""
        return scene_of(self._date)

    def read(self, name: str, column: int, row: int, width: int, height: int) -> Block:
        """Values of a band in a window, and where they are valid."""
        key = name, column, row, width, height
        if key not in self._blocks:
            self._blocks[key] = self._layer(name).read(column, row, width, height)
        return self._blocks[key]

    def sample(self, name: str) -> Block:
        """The same at every n-th row and column of each strip: about `SAMPLE` pixels in all."""
        if name not in self._samples:
            step = max(1, int(np.sqrt(self.grid.width * self.grid.height / SAMPLE)))
            parts = [self._layer(name).read(*box, step) for box in strips(self.grid)]
            values, valid = (np.concatenate([part[which] for part in parts]) for which in (0, 1))
            self._samples[name] = values, valid
        return self._samples[name]

    def read_colours(self, *box: int) -> Block:
        """Red, green and blue in a window, 3 x height x width, and where all are valid; nothing is kept."""
        return _stack([self._layer(name).read(*box) for name in COLOURS])

    def sample_colours(self) -> Block:
        """The same as `sample` gives it."""
        return _stack([self.sample(name) for name in COLOURS])

    def _layer(self, name: str) -> Layer:
        if name not in self._layers:
            band = self.scene.bands[name]
            # medians and shifts are compared by ratio: the gain does not matter
            offset = self.scene.offset / self.scene.gain
            layer = Layer(band.path, self.grid, band.index, nodata=0.0, offset=offset)
            self._layers[name] = self.enter_context(layer)
        return self._layers[name]


def _stack(blocks: Sequence[Block]) -> Block:
    values, valid = zip(*blocks, strict=True)
    return np.stack(values), np.logical_and.reduce(valid)
