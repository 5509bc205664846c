"""Change on radar images of two times, by backscatter and by coherence: through clouds, cell by cell, in strips.

Pixels are averaged to cells (multilook). A cell changed where the ratio of its mean intensities lies where unchanged
speckle comes with the asked chance only (`speckle`). It is tried twice, each with half of that chance. Alone; and as
the mean of the nine cells around it, which sees weaker changes of larger ground, where the cell itself must stray to
the same side. Coherence changed where its normalised difference (before - across) / (before + across) falls out of the
spread of the scene, and by enough to mean something. For landslides: Mondini and others (2019, Remote Sensing 11(7),
760; 2021, Earth-Science Reviews 216, 103574).
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import shape as shape_of

from detection.imagery.errors import NoValidPixelsError, SceneError, attach_path
from detection.imagery.footprints.polygons import STEPS, OutlineRule, find_footprints
from detection.imagery.footprints.records import Footprint
from detection.imagery.raster.areas import pixel_area_m2
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.masks import apply_mask
from detection.imagery.raster.overlay import Layer, burn, to_pixels, window_around
from detection.imagery.raster.raster import ByteRaster, read_grid, writing_geotiff
from detection.imagery.raster.reading.values import ANGLE, BACKSCATTER, COHERENCES, BandQuantity
from monitor.api.text import LABELLED_TEXT, Figure, Template
from slopeward_earth.radar.dates import RadarDate, check_dates, find_units, read_radar, to_power
from slopeward_earth.radar.outputs import FILES, write_radar
from slopeward_earth.radar.records import RadarChange, RadarOutline, RadarRequest
from slopeward_earth.radar.speckle import SpeckleLaw, fit_law, to_decibel

STRIP_PX: Final = 1 << 22  # pixels of one image that are held at a time
SAMPLE_STRIPS: Final = 12  # for the law of the speckle, spread over the scene
SAMPLE_ROWS: Final = 24  # of cells, in each of them
_WARPED: Final = Template(
    "radar.warped", "{name} was warped onto the grid of the newest image, which smooths its speckle"
)
_LITTLE_SHARED: Final = Template("radar.little_shared", "shows less than half of the same ground")()
_MUCH_CHANGED: Final = Template(
    "radar.much_changed",
    "{percent} % of the ground changed (rain, snow, harvest or another processing), so single outlines mean little",
)
_FEW_COHERENT: Final = Template(
    "radar.few_coherent", "{n} cells had a coherence of {coherence} or more before; {needed} are needed to compare"
)
_NOT_COHERENT: Final = Template(
    "radar.not_coherent",
    "coherence is not compared: {n} cells had a coherence of {coherence} or more before; {needed} are "
    "needed to compare",
)
SHOWN: Final = 0.5  # of a cell's pixels, else it says nothing
NINE_LEAST: Final = 7  # of nine cells
SAME_SIDE: Final = 0.2  # how far the cell itself must stray, as a two-sided chance
COHERENT: Final = 0.5  # before: below, a fall means nothing
FALL_LEAST: Final = 0.2
NMAD: Final = 1.4826
MUCH: Final = 0.2  # of the ground changed: then the scene did, not a slope
FEW_CELLS: Final = 400
INCIDENCE_APART_DEG: Final = 2.0
AMPLITUDE, COHERENCE, UNCERTAIN = 1, 2, 4
EMPTY: Final = -9999.0


@dataclass(slots=True)
class RadarCells:
    """A strip of cells: rows x columns, NaN where nothing is known."""

    before: NDArray[np.float64]  # mean power
    after: NDArray[np.float64]  # mean power
    was: NDArray[np.float64]  # coherence before
    crossed: NDArray[np.float64]  # coherence across the event
    uncertain: NDArray[np.bool_]  # where the incidence differs


class RadarSource(ExitStack):
    """All rasters of a question on one grid, read as cells; use as a context manager."""

    def __init__(self, request: RadarRequest) -> None:
        super().__init__()
        self.dates = [
            [self._read_date(path, request.band) for path in paths] for paths in (request.before, request.after)
        ]
        if bool(request.before) != bool(request.after) or not (request.after or request.coherence):
            raise SceneError("give images of before and of after, or a pair of coherences, or both")
        first = self.dates[1][0].file if request.after else request.coherence[1]  # type: ignore[index]
        k = request.multilook
        with attach_path(first):
            own = read_grid(first)
            if min(own.width, own.height) < k:
                raise SceneError(f"{first}: {own.width} x {own.height} pixels are fewer than one cell of {k} x {k}")
        a, b, c, d, e, f = own.transform[:6]
        self.grid, self.request = own, request
        self.cells = Grid(Affine(a * k, b * k, c, d * k, e * k, f), own.crs_wkt, own.width // k, own.height // k)
        self.rows = max(1, STRIP_PX // (own.width * k))
        self.warnings: list[str] = []
        self.units: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def _open(self) -> None:
        request = self.request
        if any(self.dates):
            self.warnings += check_dates(*self.dates)
        self._images = [[self._open_image(date) for date in group] for group in self.dates]
        self._coherences = [self._layer(path, COHERENCES) for path in request.coherence or ()]
        self._angles = [self._layer(path, ANGLE) for path in request.incidence or ()]
        self._mask = None if request.mask is None else self._layer(request.mask)

    def _layer(
        self, path: Path, quantity: BandQuantity | None = None, index: int | None = None, *, nodata: float | None = None
    ) -> Layer:
        with attach_path(path):
            layer = self.enter_context(
                Layer(path, self.grid, index, nearest=quantity is None, nodata=nodata, quantity=quantity)
            )
        self.warnings += layer.notes
        if layer.warped and quantity is not None:
            self.warnings.append(_WARPED(name=path.name))
        return layer

    @staticmethod
    def _read_date(path: Path, band: int | None) -> RadarDate:
        with attach_path(path):
            return read_radar(path, band)

    def _open_image(self, date: RadarDate) -> tuple[Layer, str]:
        layer = self._layer(date.file, BACKSCATTER, date.index, nodata=0.0)
        values, valid = _sample(layer)
        with attach_path(date.file):
            units, why = find_units(date, values[valid], self.request.units)
        self.units[str(date.path)] = f"{units} ({why})"
        return layer, units

    def read(self, top: int, rows: int) -> RadarCells:
        """Read rows of cells."""
        k, columns = self.request.multilook, self.cells.width
        box = (0, top * k, columns * k, rows * k)
        hidden: NDArray[np.bool_] = np.zeros((rows * k, columns * k), bool)
        if self._mask is not None:
            values, valid = _read(self._mask, box)
            hidden = valid & apply_mask("mask", values)
        before, after = (self._mean_power(group, box, hidden) for group in self._images)
        coherence = [self._to_cells(layer, box, hidden) for layer in self._coherences]
        empty = np.full((rows, columns), np.nan)
        was, crossed = coherence or (empty, empty)
        uncertain = np.zeros((rows, columns), bool)
        if self._angles:
            one, other = (self._to_cells(layer, box, hidden) for layer in self._angles)
            uncertain = ~(np.abs(one - other) <= INCIDENCE_APART_DEG)
        return RadarCells(before, after, was, crossed, uncertain)

    def _mean_power(
        self, images: list[tuple[Layer, str]], box: tuple[int, int, int, int], hidden: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Mean over the dates; a cell that one of them does not show is not known."""
        k = self.request.multilook
        total = np.full((box[3] // k, box[2] // k), np.nan if not images else 0.0)
        for layer, units in images:
            values, valid = _read(layer, box)
            power = to_power(values, units)
            valid &= ~hidden & np.isfinite(power)
            total += average_cells(power, valid, k)
        return total / max(1, len(images))

    def _to_cells(self, layer: Layer, box: tuple[int, int, int, int], hidden: NDArray[np.bool_]) -> NDArray[np.float64]:
        values, valid = _read(layer, box)
        return average_cells(values, valid & ~hidden, self.request.multilook)


def _read(layer: Layer, box: tuple[int, int, int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    with attach_path(layer.path):
        return layer.read(*box)


def _sample(layer: Layer) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    grid = layer.grid
    tops = np.linspace(0, grid.height, 5)[:-1].astype(int)
    parts = [_read(layer, (0, int(top), grid.width, min(32, grid.height - int(top)))) for top in tops]
    return np.concatenate([values for values, _ in parts]), np.concatenate([valid for _, valid in parts])


def check_image(date: RadarDate, ground: RadarDate) -> None:
    """Refuse an image that cannot be compared on the ground of another one; or by itself, where both are the same.

    Raises:
        NoValidPixelsError: it shows less than half of what the other one shows.
        RadiometryError: it is no calibrated backscatter.
    """
    grid = read_grid(ground.file)
    with ExitStack() as stack:
        layers = [
            stack.enter_context(Layer(one.file, grid, one.index, nodata=0.0, quantity=BACKSCATTER))
            for one in (ground, date)
        ]
        (_, wanted), (values, valid) = map(_sample, layers)
    if (valid & wanted).sum() < SHOWN * wanted.sum():
        raise NoValidPixelsError(LABELLED_TEXT(name=str(date.path), text=_LITTLE_SHARED))
    find_units(date, values[valid])


def average_cells(values: NDArray[Any], valid: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """Means over squares of k x k pixels, NaN where less than half of one is valid.

    >>> average_cells(np.array([[1.0, 3.0], [5.0, 7.0]]), np.array([[True, True], [True, False]]), 2).tolist()
    [[3.0]]
    """
    high, wide = values.shape[0] // k, values.shape[1] // k
    shape = (high, k, wide, k)
    count = valid.reshape(shape).sum(axis=(1, 3))
    total = np.where(valid, values, 0.0).astype(np.float64).reshape(shape).sum(axis=(1, 3))
    return np.asarray(np.where(count >= SHOWN * k * k, total / np.maximum(count, 1), np.nan))


@dataclass(frozen=True, slots=True)
class RadarRules:
    """By what a cell counts as changed; None: not compared by it."""

    alone: SpeckleLaw | None
    nine: SpeckleLaw | None
    coherence: tuple[float, float] | None  # middle and spread of the normalised difference
    false_alarms: float

    def classify(self, cells: RadarCells) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float64]]:
        """Flags of the cells, which of them say anything, and the logarithm of the ratio, centred."""
        flags = np.zeros(cells.before.shape, np.uint8)
        known = np.zeros(cells.before.shape, bool)
        ratio = np.full(cells.before.shape, np.nan)
        if self.alone is not None and self.nine is not None:
            logarithm = log_ratio(cells.before, cells.after)
            known |= np.isfinite(logarithm)
            around = log_ratio(mean_of_nine(cells.before), mean_of_nine(cells.after))
            low, high = self.alone.bounds(self.false_alarms / 2)
            down, up = self.nine.bounds(self.false_alarms / 2)
            side_low, side_high = self.alone.bounds(SAME_SIDE)
            with np.errstate(invalid="ignore"):
                changed = (logarithm < low) | (logarithm > high)
                changed |= ((around < down) & (logarithm < side_low)) | ((around > up) & (logarithm > side_high))
            flags |= np.where(changed & known, AMPLITUDE, 0).astype(np.uint8)
            ratio = logarithm - self.alone.centre
        if self.coherence is not None:
            difference = normalised_fall(cells.was, cells.crossed)
            seen = np.isfinite(difference)
            known |= seen
            with np.errstate(invalid="ignore"):
                fell = (cells.was >= COHERENT) & (cells.was - cells.crossed >= FALL_LEAST)
                fell &= difference > self.fall
            flags |= np.where(fell & seen, COHERENCE, 0).astype(np.uint8)
        return flags, known, ratio

    @property
    def fall(self) -> float:
        """By how much the normalised difference must fall."""
        assert self.coherence is not None
        from scipy import stats  # half a second, and few scenes are radar

        return self.coherence[0] + self.coherence[1] * float(stats.norm.isf(self.false_alarms))


def log_ratio(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm of after over before, NaN where one is not known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((before > 0) & (after > 0), np.log(after / before), np.nan)


def normalised_fall(was: NDArray[np.float64], crossed: NDArray[np.float64]) -> NDArray[np.float64]:
    """(before - across) / (before + across), NaN where there is none."""
    total = was + crossed
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (was - crossed) / total, np.nan)


def mean_of_nine(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over 3 x 3 cells, NaN where fewer than seven of them are known."""
    known = np.isfinite(values)
    total = ndimage.uniform_filter(np.where(known, values, 0.0), 3, mode="constant") * 9
    count = np.rint(ndimage.uniform_filter(known.astype(np.float64), 3, mode="constant") * 9)
    return np.asarray(np.where(count >= NINE_LEAST, total / np.maximum(count, 1), np.nan))


def find_radar_change(
    request: RadarRequest, on_progress: Callable[[str, float], None] = lambda *_: None
) -> RadarChange:
    """Say where ground changed between radar images of two times.

    Raises:
        NoValidPixelsError: no cell is shown by all of them.
        SceneError: images that cannot be compared.
    """
    with RadarSource(request) as source, ExitStack() as stack:
        rules, warnings = _find_rules(source)
        warnings = [*source.warnings, *warnings]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slopeward-radar-")))
        if request.out_dir is not None:
            request.out_dir.mkdir(parents=True, exist_ok=True)
        change = (request.out_dir or folder) / FILES["change"]
        marks = ByteRaster(folder / "marks.tif", source.cells, count=2)
        compared, changed = _write_cells(source, rules, marks, change, on_progress)
        if not compared:
            raise NoValidPixelsError("no cell is shown by all images")
        if changed > MUCH * compared:
            warnings.append(_MUCH_CHANGED(percent=Figure(100 * changed / compared, ".0f")))
        outlines, small = _list_outlines(source, marks, change, request)
        found = _answer(source, rules, (compared, changed), outlines, small, warnings)
        return found if request.out_dir is None else write_radar(found, source.cells, marks.path, request)


def _answer(
    source: RadarSource,
    rules: RadarRules,
    cells: tuple[int, int],
    outlines: list[RadarOutline],
    small: int,
    warnings: list[str],
) -> RadarChange:
    request, law = source.request, rules.alone
    bounds = None
    if law is not None:
        low, high = replace(law, centre=0.0).bounds(request.false_alarms / 2)
        bounds = (round(to_decibel(low), 2), round(to_decibel(high), 2))
    chances = (law is not None) + (rules.coherence is not None)
    return RadarChange(
        before_at=tuple(date.at for date in source.dates[0]),
        after_at=tuple(date.at for date in source.dates[1]),
        units=source.units,
        crs=source.cells.crs_name,
        cell_area_m2=round(pixel_area_m2(source.cells), 2),
        looks=None if law is None or rules.nine is None else (round(law.looks, 2), round(rules.nine.looks, 2)),
        threshold_db=bounds,
        offset_db=None if law is None else round(to_decibel(law.centre), 2),
        threshold_coherence=None if rules.coherence is None else round(rules.fall, 3),
        false_alarms=request.false_alarms,
        expected_false_cells=round(request.false_alarms * chances * cells[0], 1),
        valid_share=round(cells[0] / (source.cells.width * source.cells.height), 4),
        changed_share=round(cells[1] / cells[0], 6),
        too_small=small,
        outlines=tuple(outlines),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _find_rules(source: RadarSource) -> tuple[RadarRules, list[str]]:
    alone: list[NDArray[np.float64]] = []
    nine: list[NDArray[np.float64]] = []
    falls: list[NDArray[np.float64]] = []
    rows = min(SAMPLE_ROWS, source.cells.height, source.rows)
    tops = np.unique(np.linspace(0, source.cells.height - rows, SAMPLE_STRIPS).astype(int))
    for top in tops:
        cells = source.read(int(top), rows)
        alone.append(log_ratio(cells.before, cells.after).ravel())
        # every third cell: their squares of nine do not overlap
        around = log_ratio(mean_of_nine(cells.before), mean_of_nine(cells.after))
        nine.append(around[1::3, 1::3].ravel())
        falls.append(normalised_fall(cells.was, cells.crossed)[np.nan_to_num(cells.was) >= COHERENT])
    single, groups, fall = (all_[np.isfinite(all_)] for all_ in map(np.concatenate, (alone, nine, falls)))
    warnings = []
    laws: tuple[SpeckleLaw | None, SpeckleLaw | None] = (None, None)
    before, after = len(source.dates[0]), len(source.dates[1])
    if after:
        if len(single) < FEW_CELLS:
            raise NoValidPixelsError(f"{len(single)} cells are shown by all images; {FEW_CELLS} are needed")
        law = fit_law(single, before, after, source.request.looks)
        wide = fit_law(groups, before, after) if len(groups) >= FEW_CELLS / 9 else replace(law, looks=law.looks)
        # nine cells have at most nine times the looks; more is chance
        laws = law, replace(wide, looks=float(np.clip(wide.looks, law.looks, 9 * law.looks)), centre=law.centre)
        if law.looks < 1.0:
            warnings.append(
                f"the ratio strays more than speckle of one look (looks {law.looks:.2f}): the images do not lie on "
                "each other, or most of the ground changed"
            )
    coherence = None
    if source.request.coherence is not None and len(fall) < FEW_CELLS:
        n = Figure(len(fall), "d")
        if not after:
            raise NoValidPixelsError(_FEW_COHERENT(n=n, coherence=COHERENT, needed=FEW_CELLS))
        warnings.append(_NOT_COHERENT(n=n, coherence=COHERENT, needed=FEW_CELLS))
    elif source.request.coherence is not None:
        middle = float(np.median(fall))
        coherence = middle, max(NMAD * float(np.median(np.abs(fall - middle))), 1e-3)
    return RadarRules(*laws, coherence, source.request.false_alarms), warnings


def _write_cells(
    source: RadarSource, rules: RadarRules, marks: ByteRaster, change: Path, on_progress: Callable[[str, float], None]
) -> tuple[int, int]:
    """Write steps and flags of all cells, and change in dB with both coherences; cells compared and changed."""
    compared = changed = 0
    with marks.writing() as write, writing_geotiff(change, source.cells, "float32", nodata=EMPTY, count=3) as write_db:
        height = source.cells.height
        for top in range(0, height, source.rows):
            rows = min(source.rows, height - top)
            first, last = max(0, top - 1), min(height, top + rows + 1)  # one row more on each side
            cells = source.read(first, last - first)
            own = slice(top - first, top - first + rows)
            flags, known, ratio = rules.classify(cells)
            flags, known, ratio, uncertain = flags[own], known[own], ratio[own], cells.uncertain[own]
            compared += int(known.sum())
            changed += int((flags > 0).sum())
            steps = np.where(known, np.where(flags > 0, STEPS, 0), NODATA)
            flags = flags | np.where(uncertain, UNCERTAIN, 0).astype(np.uint8)
            write(np.stack([steps.astype(np.uint8), flags]), 0, top)
            layers = np.stack([ratio * to_decibel(1.0), cells.was[own], cells.crossed[own]])
            write_db(np.where(np.isfinite(layers), layers, EMPTY).astype(np.float32), 0, top)
            on_progress("compared", (top + rows) / height)
    return compared, changed


def _list_outlines(
    source: RadarSource, marks: ByteRaster, change: Path, request: RadarRequest
) -> tuple[list[RadarOutline], int]:
    small = 0

    def count() -> None:
        nonlocal small
        small += 1

    grid = source.cells
    with (
        marks.reading() as read,
        Layer(change, grid, 1) as ratio,
        Layer(change, grid, 2) as was,
        Layer(change, grid, 3) as crossed,
    ):
        found = [
            _describe(one, grid, read, (ratio, was, crossed))
            for one in find_footprints(
                lambda *box: read(*box, 1),
                grid,
                OutlineRule(0.5, request.minimum_area_m2, 0.0, request.identity),
                on_small=count,
            )
        ]
    return sorted(found, key=lambda one: (-one.area_m2, one.polygon_id)), small


def _describe(one: Footprint, grid: Grid, read: Any, layers: tuple[Layer, Layer, Layer]) -> RadarOutline:
    outline = to_pixels(shape_of({**one.geometry}), grid)
    box = window_around(outline, grid, 0)
    assert box is not None
    body = burn(outline, box)
    flags = read(*box, 2)[body]
    amplitude, coherence = bool((flags & AMPLITUDE).any()), bool((flags & COHERENCE).any())
    below = []
    for layer in layers:
        values, valid = layer.read(*box)
        below.append(values[valid & body].astype(np.float64))
    ratio, was, crossed = below

    def mean(values: NDArray[np.float64], digits: int) -> float | None:
        return round(float(values.mean()), digits) if values.size else None

    return RadarOutline(
        polygon_id=one.polygon_id,
        by="both" if amplitude and coherence else "amplitude" if amplitude else "coherence",
        area_m2=float(one.area_m2 or 0.0),
        change_db=mean(ratio, 2),
        brighter_share=None if not ratio.size else round(float(np.mean(ratio > 0)), 3),
        coherence_was=mean(was, 3),
        coherence_is=mean(crossed, 3),
        uncertain=bool(flags.size) and float(np.mean(flags & UNCERTAIN > 0)) > 0.5,
        touches_masked=one.touches_nodata,
        geometry=one.geometry,
        bbox=one.bbox,
    )
