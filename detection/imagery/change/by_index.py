"""Compare a date with an earlier one by an index of red and green: ground that became redder became barer.

The comparison needs no network, so it also serves dates that no network reads. It is advice, never a vote.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from detection.imagery.change.alignment import align, describe_correction
from detection.imagery.change.cautions import (
    SHIFT_UNKNOWN,
    add_white_cautions,
    find_white_ground,
    list_alignment_cautions,
    list_pixel_size_cautions,
    list_season_cautions,
)
from detection.imagery.change.comparison import ClassifiedBlock, Comparison, PixelClass
from detection.imagery.change.dates import DATES_MOST, list_before
from detection.imagery.change.images import Block, DateImage, open_scene
from detection.imagery.change.outputs import OUTLINES_FILE, write_outlines
from detection.imagery.change.records import (
    ChangedAreas,
    ComparisonResult,
    FootprintChange,
    KnownOutline,
    StoredDate,
    outline_to_json,
    read_outlines,
    record_to_json,
)
from detection.imagery.errors import BandMissingError, ImageryError, hide_folder
from detection.imagery.footprints.index_map import MODEL, measure_index
from detection.imagery.footprints.polygons import STEPS, OutlineRule
from detection.imagery.footprints.records import INDEX
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.overlay import Layer, shapes_of, to_pixels
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.white_ground import describe_white_ground
from detection.reasons import Describe, Explanation, Reason, explain_error, join_explanations

# Limit of detection: the rise of the index beyond the median rise of the scene must be at least this much, and this
# many robust standard deviations.
LEAST_CHANGE: Final = 0.06
DEVIATIONS: Final = 3.0
# From green to bare ground the index rises by 0.1 (Hokkaido, through haze) to 0.4 (drawn, without haze). With a larger
# limit of detection no ground could be found. No ground is assumed to be redder than the median of its image plus this
# rise, or than the reddest pixels.
RISE_MOST: Final = 0.4
REDDEST_SHARE: Final = 0.001  # share of the pixels that count as the reddest
# Strength of a change at the limit of detection.
THRESHOLD: Final = 0.5
INDEX_OUTLINES_FILE: Final = "change-index.geojson"
RED: Final = "B4"
GREEN: Final = "B3"


class IndexMeasure:
    """Measure of the rise of the index (red - green) / (red + green) beyond the median rise of the scene.

    Ground that is already so red that the index cannot rise by the limit of detection is out of reach.

    Args:
        newer: image of the newer date.
        older: image of the older date.
        stored: stored probabilities of both dates. Their nodata pixels, such as clouds, are not compared.
        kind: name of the layer.

    Raises:
        BandMissingError: an image has no red or no green.
        ImageryError: an image cannot be read, or the limit of detection is too large to find any ground.
        KeyError: the images show no ground in common.
    """

    name = "index of red and green"
    unit = "1"
    is_graded = True

    def __init__(self, newer: DateImage, older: DateImage, stored: tuple[Layer, Layer], kind: str) -> None:
        self._newer = newer
        self._older = older
        self._stored = stored
        self.layers = (kind,)
        newer_index, newer_valid = _measure_index(newer.sample(RED), newer.sample(GREEN))
        older_index, older_valid = _measure_index(older.sample(RED), older.sample(GREEN))
        valid = newer_valid & older_valid
        rise = (newer_index - older_index)[valid]
        if not rise.size:
            raise KeyError("no ground in common")
        self._median_rise = float(np.median(rise))
        deviation = 1.4826 * float(np.median(np.abs(rise - self._median_rise)))
        self.limit = max(LEAST_CHANGE, DEVIATIONS * deviation)
        if self.limit > RISE_MOST:
            raise ImageryError(Reason("change.out_of_reach", {"limit": self.limit, "most": RISE_MOST}))
        usual, reddest = np.quantile(newer_index[valid], [0.5, 1 - REDDEST_SHARE])
        self._reddest = float(max(usual + RISE_MOST, reddest))

    def classify(self, column: int, row: int, width: int, height: int) -> ClassifiedBlock:
        """Classify a window; see `Measure`."""
        box = column, row, width, height
        newer_index, newer_valid = _measure_index(self._newer.read(RED, *box), self._newer.read(GREEN, *box))
        older_index, older_valid = _measure_index(self._older.read(RED, *box), self._older.read(GREEN, *box))
        valid = newer_valid & older_valid
        for layer in self._stored:
            valid &= layer.read(*box)[1]
        rise = newer_index - older_index - self._median_rise
        steps = np.rint(np.clip(THRESHOLD * rise / self.limit, 0, 1) * STEPS)
        strength = np.where(valid, steps, NODATA).astype(np.uint8)
        can_rise = older_index + self._median_rise + self.limit <= self._reddest
        classes = np.full(rise.shape, PixelClass.UNCHANGED, np.uint8)
        classes[~can_rise] = PixelClass.OUT_OF_REACH
        classes[rise >= self.limit] = PixelClass.GAINED
        classes[~valid] = PixelClass.NODATA
        return ClassifiedBlock(classes[None], strength)


def _measure_index(red: Block, green: Block) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the index and where it is valid. Both values must be positive, so that it is between -1 and 1."""
    red_values, red_valid = red
    green_values, green_valid = green
    values = np.stack([red_values, green_values])
    return measure_index(values), red_valid & green_valid & (values > 0).all(axis=0)


@dataclass(frozen=True, slots=True)
class IndexComparison:
    """Change by the index on a date that a network read, beside the change by the network."""

    date: StoredDate  # the date with the outlines of the index
    result: ComparisonResult  # changes of these outlines
    shared_ids: frozenset[str]  # outlines of the index that intersect a new or grown outline of the network
    network_only_ids: frozenset[str]  # new or grown outlines of the network that intersect no outline of the index

    def sum_up(self) -> Reason | None:
        """Return a summary of the outlines of the index in one line; None if nothing was compared."""
        if self.result.limit is None:
            return None
        outlines = self.date.outlines
        return Reason(
            "change.index_beside",
            {
                "day": self.result.compared[0].acquired_at.date().isoformat(),
                "outlines": len(outlines),
                "area": sum(outline.area_m2 for outline in outlines),
                "alone": len(outlines) - len(self.shared_ids),
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain data; reasons stay as they are."""
        footprints = [
            {
                **outline_to_json(outline),
                **record_to_json(self.result.changes[outline.polygon_id]),
                "also_by_network": outline.polygon_id in self.shared_ids,
            }
            for outline in self.date.outlines
        ]
        return {
            "model": INDEX,
            "footprints": footprints,
            "network_alone": sorted(self.network_only_ids),
            **self.result.to_json(),
        }


def add_index_comparison(
    newer: StoredDate,
    by_network: ComparisonResult,
    earlier: Iterable[StoredDate],
    out_dir: Path | None = None,
    *,
    describe: Describe = str,
) -> IndexComparison:
    """Compare a date, for which a network made outlines, by the index too, and match the outlines of both.

    Args:
        newer: the date with the outlines of the network.
        by_network: the changes of these outlines.
        earlier: see `compare_by_index`.
        out_dir: see `compare_by_index`.
        describe: see `compare_by_index`.
    """
    date, result = compare_by_index(newer, earlier, out_dir, with_network=True, describe=describe)
    changed = [
        outline for outline in newer.outlines if by_network.changes[outline.polygon_id].change in {"new", "grown"}
    ]
    index_shapes = shapes_of([outline.geometry for outline in date.outlines])
    network_shapes = shapes_of([outline.geometry for outline in changed])
    network_positions, index_positions = shapely.STRtree(index_shapes).query(network_shapes, "intersects")
    matched_positions = set(network_positions.tolist())
    return IndexComparison(
        date,
        result,
        shared_ids=frozenset(date.outlines[position].polygon_id for position in index_positions.tolist()),
        network_only_ids=frozenset(
            outline.polygon_id for position, outline in enumerate(changed) if position not in matched_positions
        ),
    )


def compare_by_index(
    newer: StoredDate,
    earlier: Iterable[StoredDate],
    out_dir: Path | None = None,
    *,
    with_network: bool = False,
    describe: Describe = str,
) -> tuple[StoredDate, ComparisonResult]:
    """Outline ground that became barer since the newest earlier date whose image can be compared.

    Args:
        newer: the date.
        earlier: other dates, in any order, whatever network read them; only those before it count.
        out_dir: folder for `change.geojson`. None: nothing is written.
        with_network: a network read the newer date too; the file is `change-index.geojson`.
        describe: returns the text of a caution, for the file.

    Returns:
        The date with the outlines of ground that became barer, and their changes.
    """
    warnings: list[Explanation] = []
    grid = read_grid(Path(newer.probability_path))
    with DateImage(newer, grid) as image:
        for older in list_before(newer, earlier)[:DATES_MOST]:
            try:
                date, result = _compare_dates(newer, older, image, with_network=with_network)
            except (ImageryError, KeyError) as error:
                reason = hide_folder(explain_error(error), Path(older.scene_path).parent)
                warnings.append(Reason("change.not_compared", {"scene": older.day, "text": reason}))
                continue
            result = replace(result, warnings=(*warnings, *result.warnings))
            if out_dir is None:
                return date, result
            path = out_dir / (INDEX_OUTLINES_FILE if with_network else OUTLINES_FILE)
            write_outlines(date, result, path, describe)
            return date, replace(result, outputs={"outlines": str(path)})
    areas = {newer.classes[0]: ChangedAreas(0.0, 0.0, 0.0, 0.0)}
    return replace(newer, polygons=()), ComparisonResult({}, (), areas=areas, warnings=tuple(warnings))


def _compare_dates(
    newer: StoredDate, older: StoredDate, image: DateImage, *, with_network: bool
) -> tuple[StoredDate, ComparisonResult]:
    """Compare two dates; see `compare_by_index`.

    Raises:
        ImageryError: an image cannot be read, or the images differ too much.
        KeyError: the images have no band or no ground in common.
    """
    kind = newer.classes[0]
    with ExitStack() as stack:
        # Open the images, check them, and move the older one onto the newer one.
        for scene in (image.scene, open_scene(older)):
            if not {RED, GREEN} <= set(scene.bands):
                raise BandMissingError(Reason("change.no_red_green"))
        alignment = align(image, older, image.grid, stack)
        older_image = alignment.image
        assert older_image is not None
        cautions: list[Explanation] = [Reason("caution.by_index")] if with_network else list(newer.doubts)
        cautions += list_alignment_cautions(alignment)
        cautions += list_pixel_size_cautions(image.grid, read_grid(Path(older.probability_path)), older.day)
        cautions += list_season_cautions(alignment.median_ratios, 0.0, 0.0)
        record = alignment.to_record(older, tuple(cautions))
        warnings: list[Explanation] = [*describe_correction(alignment, older.day)]
        # With a network, the comparison by the network reports it.
        if alignment.shift is None and not with_network:
            warnings.append(Reason("change.compared", {"scene": older.day, "text": SHIFT_UNKNOWN}))
        if not alignment.is_close:
            assert alignment.shift is not None
            warnings.append(Reason("change.shifted", {"day": older.day, "shift": alignment.shift.px}))
            areas = {kind: ChangedAreas(0.0, 0.0, 0.0, 0.0)}
            return replace(newer, polygons=()), ComparisonResult({}, (), (record,), areas, tuple(warnings))
        # Classify the pixels and outline the barer ground.
        newer_stored = stack.enter_context(Layer(Path(newer.probability_path), image.grid, nodata=NODATA))
        older_stored = stack.enter_context(Layer(Path(older.probability_path), older_image.grid, nodata=NODATA))
        measure = IndexMeasure(image, older_image, (newer_stored, older_stored), kind)
        outlines, joint_share = _outline_barer_ground(measure, newer, older, image)
        # Add the cautions.
        changes = [
            FootprintChange(
                change="new",
                parent_id=None,
                grown_m2=None,
                since_at=older.acquired_at,
                root_id=outline.polygon_id,
                first_seen_at=newer.acquired_at,
                anchor_scene=newer.scene_hash,
                caution=join_explanations(cautions),
            )
            for outline in outlines
        ]
        shapes = to_pixels(shapes_of([outline.geometry for outline in outlines]), image.grid)
        for date_image, since in ((image, None), (older_image, older.acquired_at)):
            white, white_warnings = find_white_ground(date_image)
            warnings += white_warnings
            if white is None:
                continue
            day = date_image.date.day
            changes, count = add_white_cautions(changes, shapes, white, day, since)
            # With a network, the comparison by the network reports the white ground.
            if not with_network:
                warnings += describe_white_ground(white, day, count)
    areas = {kind: ChangedAreas(sum(outline.area_m2 for outline in outlines), 0.0, 0.0, joint_share)}
    by_id = {outline.polygon_id: change for outline, change in zip(outlines, changes, strict=True)}
    limit = round(measure.limit, 4)
    result = ComparisonResult(by_id, (), (record,), areas, tuple(warnings), limit=limit)
    return replace(newer, polygons=outlines), result


def _outline_barer_ground(
    measure: IndexMeasure, newer: StoredDate, older: StoredDate, image: DateImage
) -> tuple[tuple[KnownOutline, ...], float]:
    """Return outlines of ground that became barer, and the share of the pixels on which it would have been found."""
    rule = OutlineRule(
        threshold=THRESHOLD,
        minimum_area_m2=newer.minimum_area_m2,
        minimum_hole_m2=newer.minimum_area_m2,
        identity=f"{newer.scene_hash}:{older.scene_hash}:{MODEL.model_hash}",
        kind=newer.classes[0],
    )
    with TemporaryDirectory(prefix="index-change-") as folder:
        comparison = Comparison(image.grid, measure, Path(folder) / "pixels.tif")
        comparison.classify_pixels()
        footprints = comparison.find_outlines(PixelClass.GAINED, rule)
        outlines = [footprint.to_json() for footprint in footprints if not footprint.hugs_nodata]
    return read_outlines(outlines), comparison.compared_share()
