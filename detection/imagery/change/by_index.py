"""Change where no network fits: ground that became redder, and so barer, between two dates; advice, never a vote."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.change.guards import Image, find_season, lay_together, list_before, tell_measured
from detection.imagery.change.outlines import FILE as OUTLINES
from detection.imagery.change.outlines import write_outlines
from detection.imagery.change.records import (
    NOT_COMPARED,
    Areas,
    Change,
    Comparison,
    KeptDate,
    KnownOutline,
    read_outlines,
)
from detection.imagery.errors import ImageryError, hide_folder
from detection.imagery.footprints.index_map import MODEL, measure_index
from detection.imagery.footprints.polygons import STEPS, find_footprints
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.overlay import Layer, strips
from detection.imagery.raster.raster import ByteRaster, read_grid
from forecasting.message import Figure, Template, error_text, join

# Change of the index beyond the change of the whole scene: at least so much, and so many of its robust deviations.
LEAST_CHANGE: Final = 0.06
DEVIATIONS: Final = 3.0
THRESHOLD: Final = 0.5
_SHIFTED: Final = Template("change.shifted", "no change is claimed against {day}: its image lies {shift} px off")
RED_GREEN: Final = "B4", "B3"


@dataclass(frozen=True, slots=True)
class Step:
    """How the index of a scene moved as a whole, and from which change on a pixel counts."""

    median: float
    bound: float


def compare_by_index(
    newer: KeptDate, earlier: Iterable[KeptDate], out_dir: Path | None = None
) -> tuple[KeptDate, Comparison]:
    """Say what ground became bare since the newest earlier date whose image is there, whatever read that date.

    Args:
        newer: a date read by the index.
        earlier: dates of the same ground, in any order.
        out_dir: where `change.geojson` is written; None: nowhere.

    Returns:
        The date with the outlines of what became bare, and a word on each. Every word carries a caution.
    """
    nothing = replace(newer, polygons=()), Comparison({}, (), areas={newer.classes[0]: Areas(0.0, 0.0, 0.0, 0.0)})
    warnings: list[str] = []
    grid = read_grid(Path(newer.prob))
    with Image(newer, grid) as now:
        for older in list_before(newer, earlier):
            try:
                with Image(older, grid) as then:
                    date, found = _compare(newer, older, now, then, warnings)
            except (ImageryError, KeyError) as error:
                said = hide_folder(error_text(error), Path(older.scene_path).parent)
                warnings.append(NOT_COMPARED(scene=str(older.acquired_at.date()), text=said))
            else:
                if out_dir is None:
                    return date, found
                write_outlines(date, found, out_dir / OUTLINES)
                return date, replace(found, outputs={"outlines": str(out_dir / OUTLINES)})
    return nothing[0], replace(nothing[1], warnings=tuple(warnings))


def _compare(
    newer: KeptDate, older: KeptDate, now: Image, then: Image, warnings: list[str]
) -> tuple[KeptDate, Comparison]:  # fmt: skip
    day, grid = older.acquired_at.date().isoformat(), now.grid
    shift, ratios = lay_together(now, then)
    cautions = [*newer.doubts, *find_season(ratios, 0.0, 0.0)]
    if shift is None:
        cautions.append("the shift between the images could not be measured")
    measured = tell_measured(older, shift, ratios, cautions)
    outlines: tuple[KnownOutline, ...] = ()
    joint = 0
    if measured.claimed:
        outlines, joint = _find_bare(newer, older, now, then)
    else:
        assert shift is not None
        warnings.append(_SHIFTED(day=day, shift=Figure(shift.px, ".1f")))
    words = {
        one.polygon_id: Change(
            change="new", parent_id=None, grown_m2=None, since_at=older.acquired_at, root_id=one.polygon_id,
            first_seen_at=newer.acquired_at, anchor_scene=newer.scene_hash, caution=join(cautions),
        )
        for one in outlines
    }  # fmt: skip
    share = joint / (grid.width * grid.height)
    areas = Areas(sum(one.area_m2 for one in outlines), 0.0, 0.0, round(share, 6))
    told = Comparison(words, (), (measured,), {newer.classes[0]: areas}, tuple(warnings))
    return replace(newer, polygons=outlines), told


def _find_bare(newer: KeptDate, older: KeptDate, now: Image, then: Image) -> tuple[tuple[KnownOutline, ...], int]:
    """Outlines of what became bare, and how many pixels both dates show."""
    grid = now.grid
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="index-change-")))
        kept = [stack.enter_context(Layer(Path(date.prob), grid, nodata=NODATA)) for date in (newer, older)]

        def change(*box: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
            pairs = [[image.read(name, *box) for name in RED_GREEN] for image in (now, then)]
            # what a date set aside as cloud or nodata proves nothing
            seen = np.logical_and.reduce([v for pair in pairs for _, v in pair] + [k.read(*box)[1] for k in kept])
            one, other = (measure_index(np.stack([values for values, _ in pair])) for pair in pairs)
            return one - other, seen

        step = _measure_step(now, then)
        steps, joint = ByteRaster(folder / "steps.tif", grid), 0
        with steps.writing() as write:
            for box in strips(grid):
                moved, seen = change(*box)
                joint += int(np.count_nonzero(seen))
                share = np.clip(THRESHOLD * (moved - step.median) / step.bound, 0, 1)
                write(np.where(seen, np.rint(share * STEPS), NODATA).astype(np.uint8), box[0], box[1])
        with steps.reading() as read:
            found = find_footprints(
                read, grid, threshold=THRESHOLD, minimum_area_m2=newer.minimum_area_m2,
                minimum_hole_m2=newer.minimum_area_m2, kind=newer.classes[0],
                identity=f"{newer.scene_hash}:{older.scene_hash}:{MODEL.model_hash}",
            )  # fmt: skip
            told = [one.tell() for one in found if not one.hugs_nodata]
    return read_outlines(told), joint


def _measure_step(now: Image, then: Image) -> Step:
    """The median change of the index over both images, and the bound above it."""
    pairs = [[image.sample(name) for name in RED_GREEN] for image in (now, then)]
    seen = np.logical_and.reduce([v for pair in pairs for _, v in pair])
    one, other = (measure_index(np.stack([values for values, _ in pair])) for pair in pairs)
    moved = (one - other)[seen]
    if not moved.size:
        raise KeyError("no ground in common")
    median = float(np.median(moved))
    deviation = 1.4826 * float(np.median(np.abs(moved - median)))
    return Step(median, max(LEAST_CHANGE, DEVIATIONS * deviation))
