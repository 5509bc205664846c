"""Guards of change: do two dates lie on each other, are they of one season, where is snow? Measured on the images."""

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.imagery.change.dates import ground_m2
from detection.imagery.change.records import DateComparison, StoredDate
from detection.imagery.errors import ImageryError
from detection.imagery.raster.areas import geodesic_pixel_m2
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, strips
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.registration import (
    Edges,
    ImageShift,
    measure_distortion,
    measure_shift,
    median_ratios,
)
from detection.imagery.scene.scene import Scene, read_scene
from detection.imagery.scene.white import COLOURS, PIXELS_M, find_white, holds_at, measure_light
from detection.imagery.scene.white_ground import WhiteGround
from detection.reasons import Explanation, Reason

# Above this shift between two images, pixels, the older one is first moved onto the newer one.
SHIFT_MOST_PX = 1.5
# A larger shift is no error of geocoding, and no change is claimed.
REGISTER_MOST_PX = 24.0
# A moved image may be off by this much, pixels; otherwise it is distorted, and no change is claimed.
REGISTERED_PX = 1.0
# Images whose corners are farther apart than this beyond their common shift, pixels, are rotated or distorted.
DISTORTED_PX = 1.0
# Outlines of one ground differ by more than a pixel where the pixels of two dates differ by more than this factor.
PIXEL_RATIO = 1.1
# Share of landslide pixels before over the share after beyond which the two dates do not compare.
SHARE_RATIO = 5.0
# Medians of a band may differ by this factor between two dates of one season: below the 1.26 to 1.44 of the measured
# pair of two seasons.
MEDIAN_RATIO = 1.25
# So many pixels give the medians, and so many bands.
SAMPLE = 400_000
BANDS_MOST = 4
Block = tuple[NDArray[np.float32], NDArray[np.bool_]]  # values, and where they are valid


def scene_of(date: StoredDate) -> Scene:
    """Return the scene of a date by its `scene_path`; raises ImageryError: its files are gone."""
    scene = read_scene(Path(date.scene_path), date.acquired_at)
    return replace(scene, dem=Path(date.dem)) if date.dem else scene


def list_before(newer: StoredDate, earlier: Iterable[StoredDate]) -> list[StoredDate]:
    """The dates before another one, the newest first."""
    before = [one for one in earlier if one.acquired_at < newer.acquired_at]
    return sorted(before, key=lambda one: (one.acquired_at, one.scene_hash), reverse=True)


def make_date_comparison(
    date: StoredDate,
    shift: ImageShift | None,
    ratios: tuple[float, ...] | None,
    cautions: Sequence[Explanation],
    registered: ImageShift | None = None,
) -> DateComparison:
    """What was measured between a newer date and this one, for the record."""
    claimed = shift is None or shift.px <= SHIFT_MOST_PX
    moved, corrected = (None if one is None else asdict(one) for one in (shift, registered))
    return DateComparison(date.scene_hash, date.acquired_at, moved, ratios, tuple(cautions), claimed, corrected)


def can_register(shift: ImageShift | None) -> bool:
    """Return whether a shift is large enough to correct, and small enough to be an error of geocoding."""
    return shift is not None and SHIFT_MOST_PX < shift.px <= REGISTER_MOST_PX


def move_grid(grid: Grid, shift: ImageShift) -> Grid:
    """Return the grid on which an older image is read so that its pixels match those of the newer image."""
    return replace(grid, transform=grid.moved(-shift.columns, -shift.rows))


def describe_registration(day: str, shift: ImageShift) -> Reason:
    """Return the warning that reports a corrected shift."""
    return Reason("change.registered", {"day": day, "shift": shift.px, "columns": shift.columns, "rows": shift.rows})


def lay_together(newer: "Image", older: "Image") -> tuple[ImageShift | None, tuple[float, ...] | None, float | None]:
    """Measure how two images lie on each other, and the ratios of their bands' medians (newer over older).

    Returns:
        The shift, the ratios, and the distortion in pixels; None for what cannot be measured.

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
    distortion_px = measure_distortion(read, newer.grid.width, newer.grid.height)
    pairs = [(newer.sample(name), older.sample(name)) for name in names[:BANDS_MOST]]
    valid = np.logical_and.reduce([v for pair in pairs for _, v in pair])
    now, then = (np.stack([pair[which][0] for pair in pairs]) for which in (0, 1))
    return shift, median_ratios(now, then, valid), distortion_px


def list_distortion(distortion_px: float | None) -> list[Reason]:
    """Return the caution on images that no shift brings onto each other; none where they fit."""
    if distortion_px is None or distortion_px <= DISTORTED_PX:
        return []
    return [Reason("caution.distorted", {"shift": distortion_px})]


def list_pixels(newer: Grid, older: Grid, day: str) -> list[Reason]:
    """Return the caution on two dates of different resolution; none where their pixels have about the same size."""
    own, other = (math.sqrt(ground_m2(grid, grid.width / 2, grid.height / 2)) for grid in (newer, older))
    if max(own, other) <= PIXEL_RATIO * min(own, other):
        return []
    return [Reason("caution.pixels", {"pixel": own, "other": other, "day": day})]


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
    """The image of one date on the newer grid.

    Its files are opened when they are first asked for: an image that is gone is the guard's trouble. Use as a context
    manager.
    """

    def __init__(self, date: StoredDate, grid: Grid) -> None:
        super().__init__()
        self._date, self.grid = date, grid
        self._layers: dict[str, Layer] = {}
        self._samples: dict[str, Block] = {}
        self.edges: dict[str, Edges] = {}  # by band

    @cached_property
    def scene(self) -> Scene:
        """The scene, as `scene_of` gives it."""
        return scene_of(self._date)

    def read(self, name: str, column: int, row: int, width: int, height: int) -> Block:
        """Values of a band in a window, and where they are valid."""
        return self.layer(name).read(column, row, width, height)

    def sample(self, name: str) -> Block:
        """The same at every n-th row and column of each strip: about `SAMPLE` pixels in all."""
        if name not in self._samples:
            step = max(1, int(np.sqrt(self.grid.width * self.grid.height / SAMPLE)))
            parts = [self.layer(name).read(*box, step) for box in strips(self.grid)]
            values, valid = (np.concatenate([part[which] for part in parts]) for which in (0, 1))
            self._samples[name] = values, valid
        return self._samples[name]

    def sample_colours(self) -> Block:
        """Red, green and blue as `sample` gives them, 3 x rows x columns, and where all are valid."""
        return _stack([self.sample(name) for name in COLOURS])

    def read_colours(self, column: int, row: int, width: int, height: int) -> Block:
        """Red, green and blue of a window, 3 x height x width, and where all are valid."""
        return _stack([self.layer(name).read(column, row, width, height) for name in COLOURS])

    def layer(self, name: str) -> Layer:
        """A band on the grid; nothing that is read of it is kept."""
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


def find_white_ground(image: Image, day: str) -> tuple[WhiteGround | None, list[Reason]]:
    """The white ground of the image of a date; None with a warning that says why it was not looked for.

    An image that cannot be read is the trouble of the guards, and said by them.
    """
    try:
        bands = image.scene.bands
        if not set(COLOURS) <= set(bands):
            return None, [Reason("change.white_bands", {"day": day})]
        pixel_m = geodesic_pixel_m2(read_grid(bands[COLOURS[0]].path)) ** 0.5
        if not holds_at(pixel_m):
            least, most = PIXELS_M
            why = Reason("change.white_pixels", {"day": day, "pixel": pixel_m, "least": least, "most": most})
            return None, [why]
        values, valid = image.sample_colours()
        light = measure_light(values[:, valid])
        if light is None:
            return None, []
        grid = image.grid
        pixel_m2 = ground_m2(grid, grid.width / 2, grid.height / 2)
        share = float(find_white(values, valid, light).mean())
        return WhiteGround(image.read_colours, share, grid, light, pixel_m2), []
    except ImageryError:
        return None, []
