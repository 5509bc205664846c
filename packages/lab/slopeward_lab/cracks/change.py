"""Cracks on two dates: what is new, longer or wider than before, and by how much more than its error."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from detection.imagery.change.guards import Image, list_before
from detection.imagery.change.records import StoredDate
from detection.imagery.errors import ImageryError
from detection.imagery.footprints.polygons import threshold_steps
from detection.imagery.raster.areas import pixel_sides_m
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, window_around
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.registration import list_agreeing, list_shifts
from slopeward_lab.cracks.lines import CRACK, Crack, find_cracks

DOUBT_PX: Final = 0.5  # of the shift, however well the blocks agree
TIP_PX: Final = 2.0  # where a line ends, on each date
RIMS_PX: Final = 1.5  # two standard deviations of a width less another, however long the crack
OLD_SHARE: Final = 0.25  # a crack of which less was there before is new
STEP_PX: Final = 0.5  # cracks are followed in such steps
SPECK_PX: Final = 2.0  # what is no longer is no growth
SHOWN_SHARE: Final = 0.5  # of the darkness of the newer picture: an older one that has it shows the crack
ALONG_PX: Final = 8.0
APART_PX: Final = 9  # widths nearer to each other are one measurement

ReadBand = Callable[[int, int, int, int], tuple[NDArray[np.float32], NDArray[np.bool_]]]


@dataclass(frozen=True, slots=True)
class CrackChange:
    """What became of a crack; a length or width counts as more only beyond its error (two standard deviations)."""

    change: str  # new, grown (longer), wider, known; single: the earlier date does not show its ground
    grown_m: float | None = None  # longer by so much
    grown_error_m: float | None = None
    wider_m: float | None = None  # mean over what both dates show
    wider_error_m: float | None = None


@dataclass(frozen=True, slots=True)
class CrackComparison:
    """What changed since an earlier date, by the cracks' ids."""

    since_at: datetime
    changes: dict[str, CrackChange]
    shift_px: tuple[float, float]  # of the older image, to the right and down
    residual_px: float  # by which the blocks of the images depart from it


def compare_cracks(cracks: Sequence[Crack], newer: StoredDate, older: StoredDate) -> CrackComparison:
    """Lay the older date on the newer one by its image, and follow each crack on it.

    What the older map holds at half of its threshold was there, and so was what the older picture shows half as dark
    beside its surroundings as the newer one: a crack that a network overlooked has not grown.

    Raises ImageryError: the dates cannot be laid on each other, so nothing is claimed.
    """
    grid = read_grid(Path(newer.prob))
    with ExitStack() as stack:
        images = [stack.enter_context(Image(date, grid)) for date in (newer, older)]
        bands = [name for name in images[0].scene.bands if name in images[1].scene.bands]
        reads = [partial(image.read, min(bands, key="B4".__ne__)) for image in images] if bands else []
        shift, residual = _measure_shift(reads, grid)
        if shift is None or not list_before(newer, [older]):
            raise ImageryError(
                "the images of the two dates could not be laid on each other: no change of cracks is claimed"
            )
        band = 1 + (older.classes.index(CRACK) if CRACK in older.classes else 0)
        layer = stack.enter_context(Layer(Path(older.prob), grid, band, nodata=NODATA))
        least = threshold_steps(older.threshold)
        before = find_cracks(layer.read_steps, grid, least, older.scene_hash)
        pairs = _Pairs(layer, grid, before, (reads[0], reads[1]), max(1, least // 2))
        changes = {one.crack_id: pairs.follow(one, shift, float(np.hypot(residual, DOUBT_PX))) for one in cracks}
    return CrackComparison(
        older.acquired_at, changes, (round(float(shift[0]), 2), round(float(shift[1]), 2)), round(residual, 2)
    )


def _measure_shift(reads: Sequence[ReadBand], grid: Grid) -> tuple[NDArray[np.float64] | None, float]:
    """The shift that most blocks agree on, None where they do not; and by how much they depart from it, pixels."""

    def read(*box: int) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
        (values, valid), (others, also) = (one(*box) for one in reads)
        return values, others, valid & also

    near = list_agreeing(list_shifts(read, grid.width, grid.height)) if reads else np.empty((0, 2))
    if not len(near):
        return None, 0.0
    shift = np.median(near, axis=0)
    return shift, float(np.sqrt(((near - shift) ** 2).sum(axis=1).mean()))


class _Pairs:
    """The older date beside the newer one; `least`: the step from which it holds a crack."""

    def __init__(
        self, layer: Layer, grid: Grid, before: Sequence[Crack], reads: tuple[ReadBand, ReadBand], least: int
    ) -> None:
        self._layer, self._grid, self._reads, self._least = layer, grid, reads, least
        self._sides = np.array(pixel_sides_m(grid))
        self._pixel_m = float(np.sqrt(np.prod(self._sides)))
        self._before = np.concatenate([np.empty((0, 3)), *(one.middles for one in before)])

    def follow(self, crack: Crack, shift: NDArray[np.float64], doubt_px: float) -> CrackChange:
        """What became of a crack; `doubt_px` is the standard deviation of the shift."""
        half_px = (crack.width_m or 0.0) / 2 / self._pixel_m
        reach_px = 2 * doubt_px + 1 + half_px
        error_m = 2 * float(np.hypot(doubt_px, np.sqrt(2) * TIP_PX)) * self._pixel_m
        steps = np.arange(0, crack.line.length, STEP_PX)
        points = shapely.get_coordinates(shapely.line_interpolate_point(crack.line, steps))
        away = self._measure_away(points - shift, reach_px)
        seen, old = ~np.isnan(away), away <= reach_px
        if seen.mean() < 0.5:
            return CrackChange("single")
        now, then = (
            self._measure_dark(read, points - by, half_px)
            for read, by in zip(self._reads, (0 * shift, shift), strict=True)
        )
        shown = then >= SHOWN_SHARE * now
        lengths = np.hypot(*(np.gradient(points, axis=0) * self._sides).T)
        grown_m, (runs, count) = 0.0, ndimage.label(seen & ~old & ~shown)
        for run in (runs == number for number in range(1, count + 1)):
            if np.count_nonzero(run) * STEP_PX > SPECK_PX:
                # what lies near an end of before was hidden by it
                hidden = np.count_nonzero(ndimage.binary_dilation(run) & old)
                grown_m += float(lengths[run].sum()) + hidden * reach_px * self._pixel_m
        grown = round(grown_m, 3), round(error_m, 3)
        if lengths[old | shown].sum() < OLD_SHARE * lengths[seen].sum():
            return CrackChange("new" if grown_m > error_m else "known", *grown)
        wider_m, wider_error_m = self._measure_wider(crack, shift, reach_px)
        is_wider = wider_m is not None and wider_error_m is not None and wider_m > wider_error_m
        name = "grown" if grown_m > error_m else "wider" if is_wider else "known"
        return CrackChange(name, *grown, wider_m, wider_error_m)

    def _measure_dark(self, read: ReadBand, points: NDArray[np.float64], half_px: float) -> NDArray[np.float64]:
        """How much darker a picture is along places than on both sides, as a share, each over `ALONG_PX` of them."""
        beyond = int(np.ceil(half_px)) + 3
        box = window_around(shapely.LineString(points), self._grid, beyond + 1)
        if box is None:
            return np.zeros(len(points))
        ahead = np.gradient(points, axis=0)
        aside = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) / np.hypot(*ahead.T)[:, None].clip(1e-9)
        offsets = np.arange(-beyond, beyond + 1)
        places = points[:, None] + aside[:, None] * offsets[:, None] - box[:2] - 0.5
        values = ndimage.map_coordinates(read(*box)[0], places.transpose(2, 0, 1)[::-1], order=1, mode="nearest")
        values = ndimage.uniform_filter1d(values, round(ALONG_PX / STEP_PX), axis=0, mode="nearest")
        inside = abs(offsets) <= max(half_px, 0.5)
        around = values[:, abs(offsets) > half_px + 1].mean(axis=1)
        return np.asarray((around - values[:, inside].mean(axis=1)) / around.clip(1e-6))

    def _measure_away(self, points: NDArray[np.float64], reach_px: float) -> NDArray[np.float64]:
        """How far from the older crack places lie, pixels; nan where the older date shows nothing."""
        margin = int(np.ceil(reach_px)) + 2
        box = window_around(shapely.LineString(points), self._grid, margin)
        if box is None:
            return np.full(len(points), np.nan)
        steps = self._layer.read_steps(*box)
        marked = (steps >= self._least) & (steps != NODATA)
        away = ndimage.distance_transform_edt(~marked) if marked.any() else np.full(steps.shape, np.inf)
        away[steps == NODATA] = np.nan
        columns, rows = (np.floor(points - box[:2]).astype(int)).T
        inside = (columns >= 0) & (rows >= 0) & (columns < box[2]) & (rows < box[3])
        return np.where(inside, away[rows.clip(0, box[3] - 1), columns.clip(0, box[2] - 1)], np.nan)

    def _measure_wider(
        self, crack: Crack, shift: NDArray[np.float64], reach_px: float
    ) -> tuple[float | None, float | None]:
        tree = cKDTree(self._before[:, :2] + shift)
        away, nearest = tree.query(crack.middles[:, :2], distance_upper_bound=reach_px)
        both = np.isfinite(away)
        if not both.any():
            return None, None
        wider = crack.middles[both, 2] - self._before[nearest[both], 2]
        scatter = float(wider.std() / np.sqrt(max(1.0, both.sum() / APART_PX)))
        error_m = float(np.hypot(RIMS_PX * self._pixel_m, 2 * scatter))
        return round(float(wider.mean()), 4), round(error_m, 4)
