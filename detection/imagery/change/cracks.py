"""Cracks on two dates: what is new, longer or wider than before, and by how much more than its error."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from detection.imagery.change.guards import Image, as_it_came, list_before
from detection.imagery.change.records import StoredDate
from detection.imagery.errors import ImageryError
from detection.imagery.footprints.cracks import CRACK, Crack, find_cracks
from detection.imagery.footprints.polygons import threshold_steps
from detection.imagery.raster.areas import pixel_sides_m
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, window_around
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.registration import AGREE_PX, list_shifts

DOUBT_PX: Final = 0.5  # of the shift, however well the blocks agree
TIP_PX: Final = 1.5  # where a line ends, on each date
OLD_SHARE: Final = 0.25  # a crack of which less was there before is new
STEP_PX: Final = 0.5  # cracks are followed in such steps
SPECK_PX: Final = 2.0  # what is no longer is no growth
APART_PX: Final = 9  # widths nearer to each other are one measurement


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

    What the older map holds at half of its threshold was there: a crack that was nearly found has not grown.

    Raises ImageryError: the dates cannot be laid on each other, so nothing is claimed.
    """
    grid = read_grid(Path(newer.prob))
    shifts = _measure_shifts(newer, older, grid)
    middle = np.median(shifts, axis=0) if len(shifts) else np.zeros(2)
    near = shifts[np.hypot(*(shifts - middle).T) <= AGREE_PX]
    if not list_before(newer, [older]) or len(near) * 2 <= len(shifts):
        raise ImageryError(
            "the images of the two dates could not be laid on each other: no change of cracks is claimed"
        )
    shift = np.median(near, axis=0)
    residual = float(np.sqrt(((near - shift) ** 2).sum(axis=1).mean()))
    band = 1 + (older.classes.index(CRACK) if CRACK in older.classes else 0)
    with Layer(Path(older.prob), grid, band, nodata=NODATA) as layer:
        least = threshold_steps(older.threshold)
        before = find_cracks(layer.read_steps, grid, least, older.scene_hash)
        pairs = _Pairs(layer, grid, before, shift, float(np.hypot(residual, DOUBT_PX)), max(1, least // 2))
        changes = {one.crack_id: pairs.follow(one) for one in cracks}
    moved = round(float(shift[0]), 2), round(float(shift[1]), 2)
    return CrackComparison(older.acquired_at, changes, moved, round(residual, 2))


def _measure_shifts(newer: StoredDate, older: StoredDate, grid: Grid) -> NDArray[np.float64]:
    with ExitStack() as stack:
        now, then = (stack.enter_context(Image(as_it_came(date), grid)) for date in (newer, older))
        names = sorted(set(now.scene.bands) & set(then.scene.bands), key=lambda name: (name != "B4", name))

        def read(*box: int) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]:
            (values, valid), (others, also) = (image.read(names[0], *box) for image in (now, then))
            return values, others, valid & also

        return list_shifts(read, grid.width, grid.height) if names else np.empty((0, 2))


class _Pairs:
    """The older date beside the newer one; `doubt_px` is the standard deviation of the shift."""

    def __init__(
        self, layer: Layer, grid: Grid, before: Sequence[Crack], shift: NDArray[np.float64], doubt_px: float, least: int
    ) -> None:
        self._layer, self._grid, self._shift, self._doubt_px, self._least = layer, grid, shift, doubt_px, least
        self._sides = np.array(pixel_sides_m(grid))
        self._pixel_m = float(np.sqrt(np.prod(self._sides)))
        middles = np.concatenate([np.empty((0, 3)), *(one.middles for one in before)])
        self._widths = middles[:, 2]
        self._tree = cKDTree(middles[:, :2] + shift)

    def follow(self, crack: Crack) -> CrackChange:
        reach_px = 2 * self._doubt_px + 1 + (crack.width_m or 0.0) / 2 / self._pixel_m
        points = shapely.get_coordinates(
            shapely.line_interpolate_point(crack.line, np.arange(0, crack.line.length, STEP_PX))
        )
        away = self._measure_away(points - self._shift, reach_px)
        seen, old = ~np.isnan(away), away <= reach_px
        error_m = 2 * float(np.hypot(self._doubt_px, np.sqrt(2) * TIP_PX)) * self._pixel_m
        if seen.mean() < 0.5:
            return CrackChange("single")
        lengths = np.hypot(*(np.gradient(points, axis=0) * self._sides).T)
        grown_m, (runs, count) = 0.0, ndimage.label(seen & ~old)
        for run in (runs == number for number in range(1, count + 1)):
            if np.count_nonzero(run) * STEP_PX > SPECK_PX:
                # what lies near an end of before was hidden by it
                hidden = np.count_nonzero(ndimage.binary_dilation(run) & old)
                grown_m += float(lengths[run].sum()) + hidden * reach_px * self._pixel_m
        if lengths[old].sum() < OLD_SHARE * lengths[seen].sum():
            is_new = grown_m > error_m
            return CrackChange("new" if is_new else "known", round(grown_m, 3), round(error_m, 3))
        wider_m, wider_error_m = self._measure_wider(crack, reach_px)
        is_wider = wider_m is not None and wider_error_m is not None and wider_m > wider_error_m
        name = "grown" if grown_m > error_m else "wider" if is_wider else "known"
        return CrackChange(name, round(grown_m, 3), round(error_m, 3), wider_m, wider_error_m)

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

    def _measure_wider(self, crack: Crack, reach_px: float) -> tuple[float | None, float | None]:
        away, nearest = self._tree.query(crack.middles[:, :2], distance_upper_bound=reach_px)
        both = np.isfinite(away)
        if not both.any():
            return None, None
        wider = crack.middles[both, 2] - self._widths[nearest[both]]
        scatter = float(wider.std() / np.sqrt(max(1.0, both.sum() / APART_PX)))
        # each rim of each date is known to half a pixel
        return round(float(wider.mean()), 4), round(float(np.hypot(self._pixel_m, 2 * scatter)), 4)
