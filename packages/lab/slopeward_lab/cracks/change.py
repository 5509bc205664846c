"""Compare the cracks of two dates: which are new, longer or wider than before, beyond the error of the measurement."""

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

from detection.imagery.change.alignment import list_common_bands, pair_reader
from detection.imagery.change.dates import list_before
from detection.imagery.change.images import DateImage
from detection.imagery.change.records import StoredDate
from detection.imagery.errors import ImageryError
from detection.imagery.footprints.polygons import threshold_steps
from detection.imagery.raster.areas import pixel_sides_m
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, window_around
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.registration import ReadPair, list_agreeing, list_shifts
from slopeward_lab.cracks.lines import CRACK, Crack, find_cracks

# Standard deviation of the measured shift, pixels, at least, however well the blocks of the images agree.
SHIFT_ERROR_PX: Final = 0.5
# Standard deviation of the end of a line on one date, pixels.
TIP_ERROR_PX: Final = 2.0
# Two standard deviations of the difference of two widths, pixels, however long the crack.
WIDTH_ERROR_PX: Final = 1.5
# A crack is new if the earlier date shows less than this share of its length.
OLD_SHARE: Final = 0.25
# Cracks are sampled at this distance, pixels.
STEP_PX: Final = 0.5
# A run of a crack that is no longer than this is no growth, pixels.
SPECK_PX: Final = 2.0
# The older picture shows a crack where it is at least this share as dark as the newer one.
SHOWN_SHARE: Final = 0.5
# Darkness is averaged over this length of a crack, pixels.
DARKNESS_LENGTH_PX: Final = 8.0
# Widths nearer to each other than this are one measurement, pixels.
INDEPENDENT_PX: Final = 9
# A crack is compared if the earlier date shows at least this share of it.
COMPARED_SHARE: Final = 0.5

ReadBand = Callable[[int, int, int, int], tuple[NDArray[np.float32], NDArray[np.bool_]]]


@dataclass(frozen=True, slots=True)
class CrackChange:
    """How a crack changed. Errors are two standard deviations; more only counts beyond its error."""

    change: str  # new, grown (longer), wider, known; single: the earlier date does not show its ground
    grown_m: float | None = None  # None: not compared
    grown_error_m: float | None = None
    wider_m: float | None = None  # mean over what both dates show
    wider_error_m: float | None = None


@dataclass(frozen=True, slots=True)
class CrackComparison:
    """How cracks changed since an earlier date."""

    since_at: datetime
    changes: dict[str, CrackChange]  # by crack_id
    shift_px: tuple[float, float]  # of the older image, to the right and down
    residual_px: float  # RMS by which the blocks of the images depart from the shift


def compare_cracks(cracks: Sequence[Crack], newer: StoredDate, older: StoredDate) -> CrackComparison:
    """Compare cracks with those of an earlier date.

    A crack was there where the older probability reaches half of its threshold, or where the older picture is half as
    dark beside its surroundings as the newer one: a crack that a network overlooked has not grown.

    Args:
        cracks: cracks of the newer date.
        newer: the newer date.
        older: the earlier date.

    Raises:
        ImageryError: the images cannot be laid on each other.
    """
    grid = read_grid(Path(newer.probability_path))
    with ExitStack() as stack:
        newer_image = stack.enter_context(DateImage(newer, grid))
        older_image = stack.enter_context(DateImage(older, grid))
        bands = list_common_bands(newer_image, older_image)
        measured = _measure_shift(pair_reader(newer_image, older_image, bands[0]), grid) if bands else None
        if measured is None or not list_before(newer, [older]):
            raise ImageryError(
                "the images of the two dates could not be laid on each other: no change of cracks is claimed"
            )
        shift, residual_px = measured
        layer_number = 1 + (older.classes.index(CRACK) if CRACK in older.classes else 0)
        layer = stack.enter_context(Layer(Path(older.probability_path), grid, layer_number, nodata=NODATA))
        least = threshold_steps(older.threshold)
        older_cracks = find_cracks(layer.read_steps, grid, least, older.scene_hash)
        follower = _CrackFollower(
            layer=layer,
            older_cracks=older_cracks,
            read_newer=partial(newer_image.read, bands[0]),
            read_older=partial(older_image.read, bands[0]),
            least=max(1, least // 2),
            shift=shift,
            shift_error_px=float(np.hypot(residual_px, SHIFT_ERROR_PX)),
        )
        changes = {crack.crack_id: follower.follow(crack) for crack in cracks}
    return CrackComparison(
        since_at=older.acquired_at,
        changes=changes,
        shift_px=(round(float(shift[0]), 2), round(float(shift[1]), 2)),
        residual_px=round(residual_px, 2),
    )


def _measure_shift(read: ReadPair, grid: Grid) -> tuple[NDArray[np.float64], float] | None:
    """Return the shift on which most blocks agree and their RMS departure, pixels; None if they do not agree."""
    agreeing = list_agreeing(list_shifts(read, grid.width, grid.height))
    if not len(agreeing):
        return None
    shift = np.median(agreeing, axis=0)
    return shift, float(np.sqrt(((agreeing - shift) ** 2).sum(axis=1).mean()))


class _CrackFollower:
    """Look for cracks of the newer date on the older one.

    Args:
        layer: probabilities of the older date on the grid of the newer one.
        older_cracks: cracks of the older date.
        read_newer: reads a window of the newer picture.
        read_older: reads a window of the older picture.
        least: probability step from which the older date shows a crack.
        shift: of the older image, columns and rows.
        shift_error_px: standard deviation of the shift.
    """

    def __init__(
        self,
        *,
        layer: Layer,
        older_cracks: Sequence[Crack],
        read_newer: ReadBand,
        read_older: ReadBand,
        least: int,
        shift: NDArray[np.float64],
        shift_error_px: float,
    ) -> None:
        self._layer = layer
        self._read_newer = read_newer
        self._read_older = read_older
        self._least = least
        self._shift = shift
        self._shift_error_px = shift_error_px
        self._sides_m = np.array(pixel_sides_m(layer.grid))
        self._pixel_m = float(np.sqrt(np.prod(self._sides_m)))
        # Column, row and width of the middles of all older cracks.
        self._older_middles = np.concatenate([np.empty((0, 3)), *(crack.middles for crack in older_cracks)])

    def follow(self, crack: Crack) -> CrackChange:
        """Return how a crack of the newer date changed."""
        half_width_px = (crack.width_m or 0.0) / 2 / self._pixel_m
        reach_px = 2 * self._shift_error_px + 1 + half_width_px
        error_m = 2 * float(np.hypot(self._shift_error_px, np.sqrt(2) * TIP_ERROR_PX)) * self._pixel_m
        steps = np.arange(0, crack.line.length, STEP_PX)
        points = shapely.get_coordinates(shapely.line_interpolate_point(crack.line, steps))
        distances_px = self._measure_distances(points - self._shift, reach_px)
        valid = ~np.isnan(distances_px)
        old = distances_px <= reach_px
        if valid.mean() < COMPARED_SHARE:
            return CrackChange("single")
        newer_darkness = self._measure_darkness(self._read_newer, points, half_width_px)
        older_darkness = self._measure_darkness(self._read_older, points - self._shift, half_width_px)
        dark_before = older_darkness >= SHOWN_SHARE * newer_darkness
        lengths_m = np.hypot(*(np.gradient(points, axis=0) * self._sides_m).T)
        grown_m = 0.0
        runs, count = ndimage.label(valid & ~old & ~dark_before)
        for number in range(1, count + 1):
            run = runs == number
            if np.count_nonzero(run) * STEP_PX > SPECK_PX:
                # Within the reach of an end of the older crack, growth cannot be told from the older crack.
                ends = np.count_nonzero(ndimage.binary_dilation(run) & old)
                grown_m += float(lengths_m[run].sum()) + ends * reach_px * self._pixel_m
        has_grown = grown_m > error_m
        grown = round(grown_m, 3), round(error_m, 3)
        if lengths_m[old | dark_before].sum() < OLD_SHARE * lengths_m[valid].sum():
            return CrackChange("new" if has_grown else "known", *grown)
        wider_m, wider_error_m = self._measure_widening(crack, reach_px)
        is_wider = wider_m is not None and wider_error_m is not None and wider_m > wider_error_m
        change = "grown" if has_grown else "wider" if is_wider else "known"
        return CrackChange(change, *grown, wider_m, wider_error_m)

    def _measure_darkness(
        self, read: ReadBand, points: NDArray[np.float64], half_width_px: float
    ) -> NDArray[np.float64]:
        """Return how much darker a picture is at points of a line than on both sides, as a share.

        Each value is a mean over `DARKNESS_LENGTH_PX`.
        """
        beyond_px = int(np.ceil(half_width_px)) + 3
        box = window_around(shapely.LineString(points), self._layer.grid, beyond_px + 1)
        if box is None:
            return np.zeros(len(points))
        along = np.gradient(points, axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.hypot(*along.T)[:, None].clip(1e-9)
        offsets_px = np.arange(-beyond_px, beyond_px + 1)
        places = points[:, None] + across[:, None] * offsets_px[:, None] - box[:2] - 0.5
        values = ndimage.map_coordinates(read(*box)[0], places.transpose(2, 0, 1)[::-1], order=1, mode="nearest")
        values = ndimage.uniform_filter1d(values, round(DARKNESS_LENGTH_PX / STEP_PX), axis=0, mode="nearest")
        inside = abs(offsets_px) <= max(half_width_px, 0.5)
        around = values[:, abs(offsets_px) > half_width_px + 1].mean(axis=1)
        return np.asarray((around - values[:, inside].mean(axis=1)) / around.clip(1e-6))

    def _measure_distances(self, points: NDArray[np.float64], reach_px: float) -> NDArray[np.float64]:
        """Return the distance of points from the nearest older crack, pixels; NaN where the older date has no value."""
        margin_px = int(np.ceil(reach_px)) + 2
        box = window_around(shapely.LineString(points), self._layer.grid, margin_px)
        if box is None:
            return np.full(len(points), np.nan)
        steps = self._layer.read_steps(*box)
        marked = (steps >= self._least) & (steps != NODATA)
        distances_px = ndimage.distance_transform_edt(~marked) if marked.any() else np.full(steps.shape, np.inf)
        distances_px[steps == NODATA] = np.nan
        columns, rows = (np.floor(points - box[:2]).astype(int)).T
        inside = (columns >= 0) & (rows >= 0) & (columns < box[2]) & (rows < box[3])
        return np.where(inside, distances_px[rows.clip(0, box[3] - 1), columns.clip(0, box[2] - 1)], np.nan)

    def _measure_widening(self, crack: Crack, reach_px: float) -> tuple[float | None, float | None]:
        """Return the mean widening of a crack and its error, metres; None where the older date has no width."""
        tree = cKDTree(self._older_middles[:, :2] + self._shift)
        distances_px, nearest = tree.query(crack.middles[:, :2], distance_upper_bound=reach_px)
        matched = np.isfinite(distances_px)
        if not matched.any():
            return None, None
        wider_m = crack.middles[matched, 2] - self._older_middles[nearest[matched], 2]
        scatter_m = float(wider_m.std() / np.sqrt(max(1.0, matched.sum() / INDEPENDENT_PX)))
        error_m = float(np.hypot(WIDTH_ERROR_PX * self._pixel_m, 2 * scatter_m))
        return round(float(wider_m.mean()), 4), round(error_m, 4)
