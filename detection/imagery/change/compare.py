"""Compare a date with earlier ones by the probabilities of a network."""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.imagery.change.alignment import align, describe_correction
from detection.imagery.change.cautions import (
    add_built_cautions,
    add_white_cautions,
    find_built_ground,
    find_white_ground,
    list_alignment_cautions,
    list_pixel_size_cautions,
    list_season_cautions,
    measure_landslide_shares,
)
from detection.imagery.change.classification import classify_footprints
from detection.imagery.change.comparison import ClassifiedBlock, Comparison, PixelClass
from detection.imagery.change.dates import ProbabilityDate, choose_before, merge_earlier
from detection.imagery.change.images import DateImage
from detection.imagery.change.outputs import OUTLINES_FILE, PICTURE_FILE, RASTER_FILE, write_outlines, write_picture
from detection.imagery.change.records import (
    ChangedAreas,
    ComparisonResult,
    FootprintChange,
    StoredDate,
    VanishedFootprint,
    parse_geometry,
    read_outlines,
)
from detection.imagery.errors import ImageryError, OutputError
from detection.imagery.footprints.cautions import BORDER, list_doubts, list_outline_cautions
from detection.imagery.footprints.polygons import threshold_steps
from detection.imagery.footprints.records import SceneDetection
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import shapes_of, strips, to_pixels
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.border import list_doubtful
from detection.imagery.scene.built_ground import describe_built_ground
from detection.imagery.scene.white_ground import describe_white_ground
from detection.reasons import Describe, Explanation, Reason


def as_date(result: SceneDetection, scene_path: str | Path, dem: str | Path | None = None) -> StoredDate:
    """Return the record of a date from a result of `detect` that was made with an `out_dir`."""
    return StoredDate(
        scene_hash=result["scene_hash"],
        acquired_at=datetime.fromisoformat(result["acquired_at"]),
        probability_path=result["outputs"]["prob"],
        scene_path=str(scene_path),
        threshold=float(result["threshold"]),
        minimum_area_m2=float(result["minimum_area_m2"]),
        classes=tuple(result["classes"]),
        doubtful=tuple(list_doubtful(result.get("borders") or ())),
        cloudy=tuple((left, top, width, height) for left, top, width, height in result.get("cloudy") or ()),
        doubts=tuple(list_doubts(result.get("warnings") or ())),
        dem=None if dem is None else str(dem),
        polygons=read_outlines(result["polygons"]),
    )


@dataclass(frozen=True, slots=True)
class ProbabilityMeasure:
    """Probability of a landslide: each pixel against the newest earlier date that shows it."""

    newer: ProbabilityDate
    earlier: Sequence[ProbabilityDate]  # the newest first

    name = "probability"
    unit = "1"
    is_graded = False

    @property
    def limit(self) -> float:
        """Probability from which a pixel is a landslide."""
        return self.newer.record.threshold

    @property
    def layers(self) -> tuple[str, ...]:
        """Classes of the network."""
        return self.newer.record.classes

    def classify(self, column: int, row: int, width: int, height: int) -> ClassifiedBlock:
        """Classify a window; see `Measure`."""
        box = column, row, width, height
        least = threshold_steps(self.limit)
        layers = [
            classify_steps(self.newer.read_steps(box, kind), merge_earlier(self.earlier, box, kind)[0], least)
            for kind in self.layers
        ]
        return ClassifiedBlock(np.stack(layers))


def classify_steps(newer: NDArray[np.uint8], older: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """Classify pixels by their probability steps on two dates.

    Args:
        newer: steps of the newer date, 255 = nodata.
        older: steps of the older date, 255 = nodata.
        least: smallest step of a landslide.

    >>> classify_steps(np.uint8([200, 200, 0, 0, 200, 255]), np.uint8([0, 200, 200, 0, 255, 0]), 100).tolist()
    [1, 2, 3, 0, 255, 255]
    """
    is_newer, is_older = newer >= least, older >= least
    classes = np.full(newer.shape, PixelClass.UNCHANGED, np.uint8)
    classes[is_newer & ~is_older] = PixelClass.GAINED
    classes[is_newer & is_older] = PixelClass.PRESENT
    classes[~is_newer & is_older] = PixelClass.LOST
    classes[(newer == NODATA) | (older == NODATA)] = PixelClass.NODATA
    return classes


def compare(
    newer: StoredDate,
    earlier: Iterable[StoredDate],
    out_dir: Path | None = None,
    *,
    guards: bool = True,
    describe: Describe = str,
) -> ComparisonResult:
    """Compare a date with earlier ones that the same network read.

    Args:
        newer: the date.
        earlier: other dates, in any order; only those before it count. Their footprints have the changes of earlier
            comparisons, see `apply_changes`.
        out_dir: folder for `change.tif`, `change.geojson` and a picture. None: nothing is written.
        guards: whether shift, season, white and built ground are measured on the images. False only if both dates are
            known to be of one image.
        describe: returns the text of a caution, for the files.

    Raises:
        ImageryError: the file of the probabilities of the newer date is missing, or is of another scene now.
    """
    newer = replace(newer, polygons=tuple(parse_geometry(outline) for outline in newer.outlines))
    grid = read_grid(Path(newer.probability_path))
    warnings: list[Explanation] = []
    with ExitStack() as stack:
        # Open the dates and check them.
        newer_date = ProbabilityDate.open(newer, grid, grid, stack)
        if not newer_date.is_of_its_scene:
            raise OutputError(f"{newer.probability_path} is of another scene now")
        dates = _open_earlier_dates(newer, earlier, grid, stack, warnings)
        # Move the images onto each other.
        if guards:
            image = stack.enter_context(DateImage(newer, grid))
            newer_date.white, white_warnings = find_white_ground(image)
            newer_date.built = find_built_ground(image)
            warnings += white_warnings
            dates = [_align_date(date, newer_date, image, grid, stack, warnings) for date in dates]
            for date in dates:
                warnings += describe_correction(date.alignment, date.record.day)
        compared = tuple(date.alignment.to_record(date.record, tuple(date.cautions)) for date in dates)
        usable = [date for date in dates if date.alignment.is_close]
        # Classify the outlines.
        changes, vanished = classify_footprints(newer_date, usable, grid)
        changes, vanished = _add_cautions(changes, vanished, newer_date, usable, grid, warnings)
        shifted = [_describe_shift(date) for date in dates if not date.alignment.is_close]
        warnings += shifted
        if shifted:
            # The database and the page contain the cautions of outlines, but not the warnings of the comparison.
            changes = {
                polygon_id: change.with_cautions(*shifted) if change.since_at is None else change
                for polygon_id, change in changes.items()
            }
        # Classify the pixels.
        comparison_dir = out_dir if usable else None
        areas = _compare_pixels(ProbabilityMeasure(newer_date, usable), grid, comparison_dir)
    result = ComparisonResult(changes, tuple(vanished), compared, areas)
    warnings += [
        Reason("change.compared", {"scene": date.record.day, "text": caution})
        for date in usable
        for caution in date.cautions
    ]
    if usable and result.joint_share < 1:
        warnings.append(f"{1 - result.joint_share:.1%} of the pixels are shown on one date only: no change")
    result = replace(result, warnings=tuple(warnings))
    return result if comparison_dir is None else _write_outputs(newer, grid, result, comparison_dir, describe)


def _open_earlier_dates(
    newer: StoredDate, earlier: Iterable[StoredDate], grid: Grid, stack: ExitStack, warnings: list[Explanation]
) -> list[ProbabilityDate]:
    """Open the earlier dates that show ground of the newer one. Add a warning for each date with unusable files."""
    dates = []
    for record in choose_before(newer, earlier):
        try:
            date = ProbabilityDate.open_earlier(record, grid, stack)
        except ImageryError as error:
            warnings.append(Reason("change.not_compared", {"scene": record.day, "text": error.explanation}))
            continue
        if not date.is_of_its_scene:
            replaced = Reason("change.another", {"file": record.probability_path})
            warnings.append(Reason("change.not_compared", {"scene": record.day, "text": replaced}))
        elif date.shows_ground(newer.classes[0]):
            dates.append(date)
    return dates


def _align_date(
    date: ProbabilityDate,
    newer: ProbabilityDate,
    image: DateImage,
    grid: Grid,
    stack: ExitStack,
    warnings: list[Explanation],
) -> ProbabilityDate:
    """Return an earlier date with the alignment of its image and its cautions.

    If the image was moved, the probabilities are read again on the moved grid.
    """
    try:
        alignment = align(image, date.record, grid, stack)
    except (ImageryError, KeyError) as error:
        reason = str(error)
        # People read the caution, so it must not contain folders of the server.
        for record in (newer.record, date.record):
            reason = reason.replace(f"{Path(record.scene_path).parent}/", "")
        date.cautions.append(f"the images cannot be laid on each other ({reason})")
    else:
        assert alignment.image is not None
        if alignment.corrected_shift is not None:
            date = ProbabilityDate.open_earlier(date.record, alignment.image.grid, stack)
        date.alignment = alignment
        date.white, white_warnings = find_white_ground(alignment.image)
        warnings += white_warnings
        date.cautions += list_alignment_cautions(alignment)
    date.cautions += list_pixel_size_cautions(grid, read_grid(Path(date.record.probability_path)), date.record.day)
    kind = newer.record.classes[0]
    pairs = ((newer.read_steps(box, kind), date.read_steps(box, kind)) for box in strips(grid))
    shares = measure_landslide_shares(pairs, threshold_steps(newer.record.threshold))
    date.cautions += list_season_cautions(date.alignment.median_ratios, *shares)
    return date


def _add_cautions(
    changes: dict[str, FootprintChange],
    vanished: list[VanishedFootprint],
    newer: ProbabilityDate,
    dates: list[ProbabilityDate],
    grid: Grid,
    warnings: list[Explanation],
) -> tuple[dict[str, FootprintChange], list[VanishedFootprint]]:
    """Add cautions for a scene unlike the training data, and for outlines at a border, cloud, white or built ground.

    White ground counts on the newer date, and on the earlier date that an outline was compared with. Built ground
    counts on the newer date.
    """
    polygon_ids = [outline.polygon_id for outline in newer.record.outlines]
    geometries = [outline.geometry for outline in newer.record.outlines]
    geometries += [footprint.outline.geometry for footprint in vanished]
    outlines = to_pixels(shapes_of(geometries), grid)
    borders = [(BORDER, newer.doubtful)]
    borders += [(Reason("caution.border_of", {"day": date.record.day}), date.doubtful) for date in dates]
    cautions = list_outline_cautions(outlines, newer.record.doubts, borders, newer.cloudy)
    all_changes = [changes[polygon_id] for polygon_id in polygon_ids]
    all_changes += [footprint.change for footprint in vanished]
    all_changes = [change.with_cautions(*more) for change, more in zip(all_changes, cautions, strict=True)]
    for date in (newer, *dates):
        if date.white is not None:
            since = None if date is newer else date.record.acquired_at
            all_changes, count = add_white_cautions(all_changes, outlines, date.white, date.record.day, since)
            warnings += describe_white_ground(date.white, date.record.day, count)
    if newer.built is not None:
        day = newer.record.day
        all_changes, count = add_built_cautions(all_changes, outlines, newer.built, day)
        warnings += describe_built_ground(newer.built, day, count)
    changes = dict(zip(polygon_ids, all_changes, strict=False))
    vanished = [
        replace(footprint, change=change)
        for footprint, change in zip(vanished, all_changes[len(polygon_ids) :], strict=True)
    ]
    return changes, vanished


def _compare_pixels(measure: ProbabilityMeasure, grid: Grid, out_dir: Path | None) -> dict[str, ChangedAreas]:
    """Return the changed areas by class, and write the raster where a folder is given."""
    if out_dir is None:
        comparison = Comparison(grid, measure)
        comparison.classify_pixels()
        return comparison.measure_areas()
    # The folder is on the same disk as the target, so the finished file can be renamed.
    work = out_dir / f".{RASTER_FILE}.part"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    comparison = Comparison(grid, measure, work / "pixels.tif")
    comparison.classify_pixels()
    tags = {
        "SCENE_HASH": measure.newer.record.scene_hash,
        "BEFORE": ",".join(date.record.day for date in measure.earlier),
        "CLASSES": "0 none, 1 new, 2 on both dates, 3 gone",
    }
    comparison.write(out_dir / RASTER_FILE, tags)
    shutil.rmtree(work, ignore_errors=True)
    return comparison.measure_areas()


def _write_outputs(
    newer: StoredDate, grid: Grid, result: ComparisonResult, out_dir: Path, describe: Describe
) -> ComparisonResult:
    """Write outlines and picture; return the result with the paths of all files."""
    write_outlines(newer, result, out_dir / OUTLINES_FILE, describe)
    files = {"change": RASTER_FILE, "outlines": OUTLINES_FILE}
    if write_picture(newer, grid, result, out_dir):
        files["picture"] = PICTURE_FILE
    return replace(result, outputs={name: str(out_dir / file) for name, file in files.items()})


def _describe_shift(date: ProbabilityDate) -> Reason:
    shift = date.alignment.shift
    assert shift is not None
    return Reason(
        "change.shifted_by",
        {"day": date.record.day, "shift": shift.px, "columns": shift.columns, "rows": shift.rows},
    )
