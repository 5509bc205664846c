"""Ground that became redder, and so barer, between two dates: without a network or beside one; advice, never a vote."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from detection.imagery.change.compare import OUTLINES, write_outlines
from detection.imagery.change.dates import DATES_MOST
from detection.imagery.change.guards import (
    REGISTERED_PX,
    Block,
    Image,
    can_register,
    describe_registration,
    find_season,
    find_white_ground,
    lay_together,
    list_before,
    list_distortion,
    make_date_comparison,
    move_grid,
)
from detection.imagery.change.records import (
    ChangedAreas,
    Comparison,
    FootprintChange,
    KnownOutline,
    StoredDate,
    outline_to_json,
    read_outlines,
    record_to_json,
)
from detection.imagery.errors import BandMissingError, ImageryError, hide_folder
from detection.imagery.footprints.index_map import MODEL, measure_index
from detection.imagery.footprints.polygons import STEPS, OutlineRule, find_footprints
from detection.imagery.footprints.records import INDEX
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.overlay import Layer, shapes_of, strips, to_pixels
from detection.imagery.raster.raster import ByteRaster, read_grid
from detection.imagery.scene.registration import ImageShift
from detection.imagery.scene.white_ground import describe_white, describe_white_ground
from detection.reasons import Describe, Explanation, Reason, explain_error, join_explanations

# Change of the index beyond the change of the whole scene: at least so much, and so many of its robust deviations.
LEAST_CHANGE: Final = 0.06
DEVIATIONS: Final = 3.0
# From green to bare ground the index rises by .1 (Hokkaido, through haze) to .4 (drawn, without): a limit beyond this
# is out of reach, and finds nothing whatever lies there. No ground gets redder than so much beyond the usual ground of
# its image, or than the reddest of it.
RISE_MOST: Final = 0.4
REDDEST_SHARE: Final = 0.001
THRESHOLD: Final = 0.5
INDEX_OUTLINES: Final = "change-index.geojson"
RED_GREEN: Final = "B4", "B3"


@dataclass(frozen=True, slots=True)
class IndexLimits:
    """How the index of a scene moved as a whole, from which change on a pixel counts, and how red ground can be."""

    median: float
    bound: float
    reddest: float


@dataclass(frozen=True, slots=True)
class IndexComparison:
    """Change by the index on a date that a network read, and what only one of the two found."""

    date: StoredDate  # the date with the outlines of the index
    found: Comparison  # what became of them
    shared: frozenset[str]  # polygon_ids of those that meet a new or grown outline of the network
    alone: frozenset[str]  # polygon_ids of the new or grown outlines of the network that meet none of the index

    def sum_up(self) -> Reason | None:
        """What the index found, in one line beside what the network found; None where it compared nothing."""
        if self.found.limit is None:
            return None
        outlines = self.date.outlines
        return Reason(
            "change.index_beside",
            {
                "day": self.found.compared[0].acquired_at.date().isoformat(),
                "outlines": len(outlines),
                "area": sum(one.area_m2 for one in outlines),
                "alone": len(outlines) - len(self.shared),
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data; reasons stay as they are."""
        outlines = [
            {
                **outline_to_json(one),
                **record_to_json(self.found.changes[one.polygon_id]),
                "also_by_network": one.polygon_id in self.shared,
            }
            for one in self.date.outlines
        ]
        return {"model": INDEX, "footprints": outlines, "network_alone": sorted(self.alone), **self.found.to_json()}


def add_index_comparison(
    newer: StoredDate,
    by_network: Comparison,
    earlier: Iterable[StoredDate],
    out_dir: Path | None = None,
    *,
    describe: Describe = str,
) -> IndexComparison:
    """Say by the index too what ground became bare on a date that a network read, and what only one of them found."""
    date, found = compare_by_index(newer, earlier, out_dir, with_network=True, describe=describe)
    changed = [one for one in newer.outlines if by_network.changes[one.polygon_id].change in {"new", "grown"}]
    own, others = (shapes_of([one.geometry for one in some]) for some in (date.outlines, changed))
    theirs, ours = (set(met.tolist()) for met in shapely.STRtree(own).query(others, "intersects"))
    return IndexComparison(
        date,
        found,
        frozenset(date.outlines[place].polygon_id for place in ours),
        frozenset(one.polygon_id for place, one in enumerate(changed) if place not in theirs),
    )


def compare_by_index(
    newer: StoredDate,
    earlier: Iterable[StoredDate],
    out_dir: Path | None = None,
    *,
    with_network: bool = False,
    describe: Describe = str,
) -> tuple[StoredDate, Comparison]:
    """Say what ground became bare since the newest earlier date whose image is there, whatever read that date.

    Args:
        newer: the date that is compared.
        earlier: the dates before it, in any order.
        out_dir: where `change.geojson` is written; None: nowhere.
        with_network: a network read the newer date too, so the file is `change-index.geojson`.
        describe: text of the cautions in the file.

    Returns the date with the outlines of what became bare, and a word on each.
    """
    warnings: list[Explanation] = []
    grid, file = read_grid(Path(newer.prob)), INDEX_OUTLINES if with_network else OUTLINES
    with Image(newer, grid) as now:
        for older in list_before(newer, earlier)[:DATES_MOST]:
            try:
                with Image(older, grid) as then:
                    date, found = _compare(newer, older, now, then, with_network=with_network)
            except (ImageryError, KeyError) as error:
                why = hide_folder(explain_error(error), Path(older.scene_path).parent)
                warnings.append(Reason("change.not_compared", {"scene": str(older.acquired_at.date()), "text": why}))
            else:
                found = replace(found, warnings=(*warnings, *found.warnings))
                if out_dir is None:
                    return date, found
                write_outlines(date, found, out_dir / file, describe)
                return date, replace(found, outputs={"outlines": str(out_dir / file)})
    areas = {newer.classes[0]: ChangedAreas(0.0, 0.0, 0.0, 0.0)}
    return replace(newer, polygons=()), Comparison({}, (), areas=areas, warnings=tuple(warnings))


def _compare(
    newer: StoredDate,
    older: StoredDate,
    now: Image,
    then: Image,
    *,
    with_network: bool,
    registered: ImageShift | None = None,
) -> tuple[StoredDate, Comparison]:
    day, grid = older.acquired_at.date().isoformat(), now.grid
    if not all(set(RED_GREEN) <= set(image.scene.bands) for image in (now, then)):
        raise BandMissingError(Reason("change.no_red_green"))
    shift, ratios, distortion_px = lay_together(now, then)
    if registered is None and shift is not None and can_register(shift):
        with Image(older, move_grid(grid, shift)) as moved:
            left, *_ = lay_together(now, moved)
            if left is not None and left.px <= REGISTERED_PX:
                date, found = _compare(newer, older, now, moved, with_network=with_network, registered=shift)
                return date, replace(found, warnings=(describe_registration(day, shift), *found.warnings))
    own_doubts = (Reason("caution.by_index"),) if with_network else newer.doubts
    cautions: list[Explanation] = [*own_doubts, *find_season(ratios, 0.0, 0.0)]
    if shift is None:
        cautions.append("the shift between the images could not be measured")
    cautions += list_distortion(distortion_px)
    measured = make_date_comparison(older, shift, ratios, cautions, registered)
    outlines: tuple[KnownOutline, ...] = ()
    warnings: list[Explanation] = []
    joint, limit = 0, None
    if measured.claimed:
        step = _measure_step(now, then)
        limit = round(step.bound, 4)
        outlines, joint = _find_bare(newer, older, now, then, step)
    else:
        assert shift is not None
        warnings.append(Reason("change.shifted", {"day": day, "shift": shift.px}))
    words = {
        one.polygon_id: FootprintChange(
            change="new",
            parent_id=None,
            grown_m2=None,
            since_at=older.acquired_at,
            root_id=one.polygon_id,
            first_seen_at=newer.acquired_at,
            anchor_scene=newer.scene_hash,
            caution=join_explanations(cautions),
        )
        for one in outlines
    }
    drawn = to_pixels(shapes_of([one.geometry for one in outlines]), grid)
    for date, image in ((newer, now), (older, then)) if measured.claimed else ():
        seen = date.acquired_at.date().isoformat()
        white, untold = find_white_ground(image, seen)
        lying = (
            []
            if white is None
            else [one.polygon_id for one, lies in zip(outlines, white.lies_at(drawn), strict=True) if lies]
        )
        words |= {name: words[name].doubted(describe_white(seen)) for name in lying}
        warnings += untold if with_network else [*untold, *describe_white_ground(white, seen, len(lying))]
    share = joint / (grid.width * grid.height)
    areas = ChangedAreas(sum(one.area_m2 for one in outlines), 0.0, 0.0, round(share, 6))
    comparison = Comparison(words, (), (measured,), {newer.classes[0]: areas}, tuple(warnings), limit=limit)
    return replace(newer, polygons=outlines), comparison


def _find_bare(
    newer: StoredDate, older: StoredDate, now: Image, then: Image, step: IndexLimits
) -> tuple[tuple[KnownOutline, ...], int]:
    """Outlines of what became bare, and how many pixels both dates show that could have been found."""
    grid = now.grid
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="index-change-")))
        kept = [
            stack.enter_context(Layer(Path(date.prob), image.grid, nodata=NODATA))
            for date, image in ((newer, now), (older, then))
        ]

        def change(*box: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
            pairs = [[image.read(name, *box) for name in RED_GREEN] for image in (now, then)]
            # what a date set aside as cloud or nodata proves nothing
            known = np.logical_and.reduce([k.read(*box)[1] for k in kept])
            one, other, seen = _measure_both(pairs)
            moved, seen = one - other - step.median, seen & known
            # what is so red already that it could not rise by the limit was not compared
            return moved, seen, seen & ((moved >= step.bound) | (other + step.median + step.bound <= step.reddest))

        steps, joint = ByteRaster(folder / "steps.tif", grid), 0
        with steps.writing() as write:
            for box in strips(grid):
                moved, seen, compared = change(*box)
                joint += int(np.count_nonzero(compared))
                share = np.clip(THRESHOLD * moved / step.bound, 0, 1)
                write(np.where(seen, np.rint(share * STEPS), NODATA).astype(np.uint8), box[0], box[1])
        with steps.reading() as read:
            found = find_footprints(
                read,
                grid,
                OutlineRule(
                    THRESHOLD,
                    newer.minimum_area_m2,
                    newer.minimum_area_m2,
                    f"{newer.scene_hash}:{older.scene_hash}:{MODEL.model_hash}",
                    newer.classes[0],
                ),
            )
            rows = [one.to_json() for one in found if not one.hugs_nodata]
    return read_outlines(rows), joint


def _measure_both(
    pairs: Sequence[Sequence[Block]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """The index of the newer and the older image, and where both have one: it lies between -1 and 1 then."""
    values = [np.stack([band for band, _ in pair]) for pair in pairs]
    seen = np.logical_and.reduce([valid for pair in pairs for _, valid in pair])
    one, other = map(measure_index, values)
    return one, other, seen & (np.concatenate(values) > 0).all(axis=0)


def _measure_step(now: Image, then: Image) -> IndexLimits:
    """The median change of the index over both images, the bound above it, and how red ground can be.

    Raises ImageryError: no ground that becomes bare could reach the bound.
    """
    one, other, seen = _measure_both([[image.sample(name) for name in RED_GREEN] for image in (now, then)])
    moved = (one - other)[seen]
    if not moved.size:
        raise KeyError("no ground in common")
    median = float(np.median(moved))
    deviation = 1.4826 * float(np.median(np.abs(moved - median)))
    bound = max(LEAST_CHANGE, DEVIATIONS * deviation)
    if bound > RISE_MOST:
        raise ImageryError(Reason("change.out_of_reach", {"limit": bound, "most": RISE_MOST}))
    usual, reddest = np.quantile(one[seen], [0.5, 1 - REDDEST_SHARE])
    return IndexLimits(median, bound, float(max(usual + RISE_MOST, reddest)))
