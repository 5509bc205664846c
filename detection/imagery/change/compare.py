"""Change: one date beside the earlier ones of the same ground; its raster, outlines and picture."""

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import shapely

from detection.imagery.change.classification import NOTHING, change_of, classify_dates
from detection.imagery.change.dates import DATES_MOST, Date, ground_m2, lay_before
from detection.imagery.change.guards import (
    REGISTERED_PX,
    SHIFT_MOST_PX,
    Image,
    can_register,
    describe_registration,
    find_season,
    find_white_ground,
    landslide_shares,
    lay_together,
    list_before,
    list_distortion,
    list_pixels,
    make_date_comparison,
    move_grid,
    scene_of,
)
from detection.imagery.change.records import (
    ChangedAreas,
    Comparison,
    FootprintChange,
    PlacedOutline,
    StoredDate,
    VanishedFootprint,
    open_geometry,
    read_outlines,
    record_to_json,
)
from detection.imagery.errors import ImageryError, OutputError
from detection.imagery.footprints.cautions import BORDER, doubt_outlines
from detection.imagery.footprints.polygons import threshold_steps
from detection.imagery.footprints.preview import LONGEST_PX, draw_outline, paint_scene
from detection.imagery.footprints.records import SceneDetection
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, join_windows, shapes_of, strips, to_pixels
from detection.imagery.raster.raster import ByteRaster, read_grid, write_cog, write_png
from detection.imagery.scene.border import list_doubtful
from detection.imagery.scene.white_ground import describe_white, describe_white_ground
from detection.reasons import Describe, Explanation, Reason
from detection.whole_file import replacing

OUTLINES = "change.geojson"
WORDS = ("change", "parent_id", "grown_m2", "since_at", "first_seen_at", "root_id", "caution")


def write_outlines(date: StoredDate, found: Comparison, path: Path, describe: Describe = str) -> None:
    """Write a FeatureCollection (RFC 7946) by temporary name and rename; `describe`: text of the cautions."""
    rows: list[tuple[PlacedOutline, FootprintChange]] = [(one, found.changes[one.polygon_id]) for one in date.outlines]
    rows += [(one.outline, one.change) for one in found.vanished]
    shared = {"scene_hash": date.scene_hash, "acquired_at": date.acquired_at.isoformat()}
    features = []
    for outline, change in rows:
        values = record_to_json(change)
        values["caution"] = None if change.caution is None else describe(change.caution)
        features.append(
            {
                "type": "Feature",
                "id": outline.polygon_id,
                "geometry": outline.geometry,
                "properties": {
                    "class": outline.kind,
                    "area_m2": outline.area_m2,
                    **{key: values[key] for key in WORDS},
                    **shared,
                },
            }
        )
    text = json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


FILE = "change.tif"


def write_change(own: Date, dates: Sequence[Date], grid: Grid, out_dir: Path | None) -> dict[str, ChangedAreas]:
    """Count the pixels of change, and write them as a cloud-optimised GeoTIFF where a folder is given.

    Returns the areas by class, the first class first.
    """
    kinds = own.facts.classes
    least = threshold_steps(own.facts.threshold)
    counts = np.zeros((len(kinds), 256), np.int64)
    part = None if out_dir is None or not dates else out_dir / f".{FILE}.part"
    with ExitStack() as stack:
        write = None
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            write = stack.enter_context(ByteRaster(part / "pixels.tif", grid, len(kinds)).writing())
        for box in strips(grid):
            bands = [change_of(own.steps(box, kind), lay_before(dates, box, kind)[0], least) for kind in kinds]
            for number, values in enumerate(bands):
                counts[number] += np.bincount(values.ravel(), minlength=256)
            if write is not None:
                write(np.stack(bands), box[0], box[1])
    if part is not None and out_dir is not None:
        tags = {
            "SCENE_HASH": own.facts.scene_hash,
            "BEFORE": ",".join(d.day for d in dates),
            "CLASSES": "0 none, 1 new, 2 on both dates, 3 gone",
        }
        write_cog(part / "pixels.tif", part / FILE, overviews="mode", tags=tags, descriptions=kinds)
        (part / FILE).replace(out_dir / FILE)
        shutil.rmtree(part, ignore_errors=True)
    pixel_m2 = ground_m2(grid, grid.width / 2, grid.height / 2)
    areas = {}
    for kind, tally in zip(kinds, counts, strict=True):
        new, known, gone = (round(int(tally[code]) * pixel_m2, 1) for code in (1, 2, 3))
        share = round(float(tally[NOTHING:NODATA].sum()) / (grid.width * grid.height), 6)
        areas[kind] = ChangedAreas(new, known, gone, share)
    return areas


PICTURE = "change.png"
COLOURS = {
    "new": (255, 40, 40),
    "grown": (255, 140, 0),
    "known": (255, 225, 60),
    "single": (255, 255, 255),
    "vanished": (70, 150, 255),
}


def as_date(result: SceneDetection, scene_path: str | Path, dem: str | Path | None = None) -> StoredDate:
    """Return what `compare` needs of a result of `detect` (JSON) that was made with an `out_dir`."""
    return StoredDate(
        scene_hash=result["scene_hash"],
        acquired_at=datetime.fromisoformat(result["acquired_at"]),
        prob=result["outputs"]["prob"],
        scene_path=str(scene_path),
        threshold=float(result["threshold"]),
        minimum_area_m2=float(result["minimum_area_m2"]),
        classes=tuple(result["classes"]),
        doubtful=tuple(list_doubtful(result.get("borders") or ())),
        cloudy=tuple((left, top, width, height) for left, top, width, height in result.get("cloudy") or ()),
        doubts=tuple(result.get("doubts") or ()),
        dem=None if dem is None else str(dem),
        polygons=read_outlines(result["polygons"]),
    )


def compare(
    newer: StoredDate,
    earlier: Iterable[StoredDate],
    out_dir: Path | None = None,
    *,
    guards: bool = True,
    describe: Describe = str,
) -> Comparison:
    """Say what changed on one date against the earlier ones, each pixel against the newest that shows it.

    Args:
        earlier: dates before it, of the same model, in any order; their footprints may carry what is known of them.
        out_dir: where `change.tif`, `change.geojson` and a picture are written; None: nowhere.
        guards: measure shift and season; off only where both dates are known to be one image's.
        describe: text of the cautions in the files.

    Raises ImageryError: the kept probabilities of the newer date are gone, or of another scene now.
    """
    newer = replace(newer, polygons=tuple(map(open_geometry, newer.outlines)))
    grid = read_grid(Path(newer.prob))
    warnings: list[Explanation] = []
    with ExitStack() as stack:
        own = _make_date(stack, newer, grid, grid)
        if not _is_kept(own):
            raise OutputError(f"{newer.prob} is of another scene now")
        opened = (_open(stack, facts, own, grid, warnings) for facts in choose_before(newer, earlier))
        dates = [date for date in opened if date is not None]
        image = stack.enter_context(Image(newer, grid))
        if guards:
            own.white, untold = find_white_ground(image, own.day)
            warnings += untold
        if guards:
            for date in dates:
                _guard(date, own, image, warnings)
            dates = [_register(stack, date, own, image, grid, warnings) for date in dates]
        compared = tuple(make_date_comparison(d.facts, d.shift, d.ratios, d.cautions, d.registered) for d in dates)
        usable = [d for d in dates if d.shift is None or d.shift.px <= SHIFT_MOST_PX]
        changes, vanished = _doubt(*classify_dates(own, usable, grid), own, usable, grid, warnings)
        reasons = [_describe_shift(d) for d in dates if d.shift is not None and d.shift.px > SHIFT_MOST_PX]
        warnings += reasons
        for name, change in changes.items():
            # an outline that could not be compared carries the reason where the database and the page show it
            if reasons and change.since_at is None:
                changes[name] = change.doubted(*reasons)
        found = Comparison(changes, tuple(vanished), compared, write_change(own, usable, grid, out_dir))
    warnings += [Reason("change.compared", {"scene": d.day, "text": text}) for d in usable for text in d.cautions]
    if usable and found.joint_share < 1:
        warnings.append(f"{1 - found.joint_share:.1%} of the pixels are shown on one date only: no change")
    outputs = {}
    if out_dir and usable:
        write_outlines(newer, found, out_dir / OUTLINES, describe)
        files = {"change": FILE, "outlines": OUTLINES}
        if _draw(newer, grid, found, out_dir):
            files["picture"] = PICTURE
        outputs = {name: str(out_dir / file) for name, file in files.items()}
    return replace(found, warnings=tuple(warnings), outputs=outputs)


def _doubt(
    changes: dict[str, FootprintChange],
    vanished: list[VanishedFootprint],
    own: Date,
    dates: list[Date],
    grid: Grid,
    warnings: list[Explanation],
) -> tuple[dict[str, FootprintChange], list[VanishedFootprint]]:
    """What is advice: on a scene unlike the training, beside a border or a cloud, on or beside white.

    White ground counts on the outline's own date and on that it is compared with.
    """
    names = [one.polygon_id for one in own.facts.outlines]
    shapes = [one.geometry for one in (*own.facts.outlines, *(v.outline for v in vanished))]
    outlines = to_pixels(shapes_of(shapes), grid)
    borders = [
        (BORDER, own.doubtful),
        *((Reason("caution.border_of", {"day": date.day}), date.doubtful) for date in dates),
    ]
    doubts = doubt_outlines(outlines, own.facts.doubts, borders, own.cloudy)
    judged = [*(changes[name] for name in names), *(one.change for one in vanished)]
    words = [change.doubted(*why) for change, why in zip(judged, doubts, strict=True)]
    for date in (own, *dates):
        if date.white is None:
            continue
        dated = [k for k, change in enumerate(words) if date is own or change.since_at == date.at]
        lying = [k for k, lies in zip(dated, date.white.lies_at(outlines[dated]), strict=True) if lies]
        for place in lying:
            words[place] = words[place].doubted(describe_white(date.day))
        warnings += describe_white_ground(date.white, date.day, len(lying))
    gone = zip(vanished, words[len(names) :], strict=True)
    return dict(zip(names, words, strict=False)), [replace(one, change=change) for one, change in gone]


def _draw(newer: StoredDate, grid: Grid, found: Comparison, out_dir: Path) -> bool:
    words = [(found.changes[one.polygon_id].change, one.geometry) for one in newer.outlines]
    words += [(one.change.change, one.outline.geometry) for one in found.vanished]
    try:
        # write an RGBA PNG
        image, small = paint_scene(scene_of(newer), grid, LONGEST_PX)
        with Layer(out_dir / FILE, small, nearest=True, nodata=NODATA) as layer:
            _, valid = layer.read(0, 0, small.width, small.height)
        grey = (image[:3].mean(axis=0) * 0.45 + 20).astype(np.uint8)
        image[:3, ~valid] = grey[~valid]
        # what is told last lies on top
        for kind in ("single", "vanished", "known", "grown", "new"):
            for outline in shapes_of([geometry for change_kind, geometry in words if change_kind == kind]):
                draw_outline(image, outline, small, np.array(COLOURS[kind], np.uint8))
        write_png(out_dir / PICTURE, image)
    except ImageryError:
        return False
    return True


def choose_before(newer: StoredDate, earlier: Iterable[StoredDate]) -> list[StoredDate]:
    """Return the earlier dates that count, the newest first: at most so many, and those on which outlines rest."""
    before = list_before(newer, earlier)
    near = before[:DATES_MOST]
    anchors = {outline.anchor_scene for one in near for outline in one.outlines}
    return near + [one for one in before[DATES_MOST:] if one.scene_hash in anchors]


def _make_date(stack: ExitStack, facts: StoredDate, own: Grid, grid: Grid) -> Date:
    doubtful, cloudy = (join_windows(windows, own, grid) for windows in (facts.doubtful, facts.cloudy))
    layers = {
        kind: stack.enter_context(Layer(Path(facts.prob), grid, number, nodata=NODATA))
        for number, kind in enumerate(facts.classes, start=1)
    }
    return Date(facts, layers, unseen=cloudy, doubtful=doubtful, cloudy=cloudy)


def _is_kept(date: Date) -> bool:
    wanted = date.facts.scene_hash
    return all(layer.tags.get("SCENE_HASH", wanted) == wanted for layer in date.layers.values())


def _open(stack: ExitStack, facts: StoredDate, own: Date, grid: Grid, warnings: list[Explanation]) -> Date | None:
    """One earlier date, or None with a warning where its kept files do not serve."""
    day = facts.acquired_at.date().isoformat()
    try:
        date = _make_date(stack, facts, read_grid(Path(facts.prob)), grid)
        date.cautions = list(facts.doubts)
    except ImageryError as error:
        warnings.append(Reason("change.not_compared", {"scene": day, "text": error.explanation}))
        return None
    if not _is_kept(date):
        another = Reason("change.another", {"file": facts.prob})
        warnings.append(Reason("change.not_compared", {"scene": day, "text": another}))
        return None
    date.polygons = [open_geometry(one) for one in facts.outlines if not one.is_gone]
    date.outlines = list(to_pixels(shapes_of([one.geometry for one in date.polygons]), grid))
    if date.cloudy is not None:  # an outline that is doubted there proves nothing, as a whole
        doubted = [one for one in date.outlines if one.intersects(date.cloudy)]
        date.unseen = shapely.union_all([date.unseen, *doubted])
    kind = own.facts.classes[0]
    if not any((date.steps(box, kind) != NODATA).any() for box in strips(grid)):
        return None  # other ground
    return date


def _guard(date: Date, own: Date, image: Image, warnings: list[Explanation]) -> None:
    least, kind = threshold_steps(own.facts.threshold), own.facts.classes[0]
    # that of a registered date is moved
    grid = next(iter(date.layers.values())).grid
    try:
        older = image.enter_context(Image(date.facts, grid))  # its white ground is asked for later
        date.shift, date.ratios, distortion_px = lay_together(image, older)
    except (ImageryError, KeyError) as error:
        reason = str(error)
        for facts in (own.facts, date.facts):  # people read it: no path of the server
            reason = reason.replace(f"{Path(facts.scene_path).parent}/", "")
        date.cautions.append(f"the images cannot be laid on each other ({reason})")
    else:
        date.white, untold = find_white_ground(older, date.day)
        warnings += untold
        if date.ratios is None:
            date.cautions.append("the season of the images could not be compared")
        if date.shift is None:
            date.cautions.append("the shift between the images could not be measured")
        date.cautions += list_distortion(distortion_px)
    date.cautions += list_pixels(image.grid, read_grid(Path(date.facts.prob)), date.day)
    pairs = ((own.steps(box, kind), date.steps(box, kind)) for box in strips(grid))
    date.cautions += find_season(date.ratios, *landslide_shares(pairs, least))


def _register(stack: ExitStack, date: Date, own: Date, image: Image, grid: Grid, warnings: list[Explanation]) -> Date:
    """Return the date moved onto the newer one if its image is shifted, else the date as it is.

    A date that is still off after the move stays as it is, so no change is claimed against it.
    """
    measured = date.shift
    if measured is None or not can_register(measured):
        return date
    moved = _open(stack, date.facts, own, move_grid(grid, measured), [])
    if moved is None:
        return date
    _guard(moved, own, image, [])
    if moved.shift is None or moved.shift.px > REGISTERED_PX:
        return date
    moved.registered = measured
    warnings.append(describe_registration(date.day, measured))
    return moved


def _describe_shift(date: Date) -> Reason:
    assert date.shift is not None
    shift = date.shift
    return Reason(
        "change.shifted_by", {"day": date.day, "shift": shift.px, "columns": shift.columns, "rows": shift.rows}
    )
