"""The lane of change: the newest date beside the earlier ones of the same ground; plain dictionaries in and out."""

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from detection.imagery.change.dates import DATES_MOST, Date, classes_of, join_windows
from detection.imagery.change.guards import SHIFT_MOST_PX, Image, find_season, landslide_shares, lay_together, scene_of
from detection.imagery.change.judge import judge_dates
from detection.imagery.change.outlines import FILE as OUTLINES
from detection.imagery.change.outlines import read_outlines, write_outlines
from detection.imagery.change.picture import FILE as PICTURE
from detection.imagery.change.picture import write_change_picture
from detection.imagery.change.raster import FILE, write_change
from detection.imagery.errors import ImageryError, OutputError
from detection.imagery.footprints.polygons import threshold_steps
from detection.imagery.footprints.unseen import list_unseen
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer, shapes_of, strips, to_pixels
from detection.imagery.raster.raster import read_grid
from detection.imagery.scene.border import list_doubtful

log = logging.getLogger(__name__)
BORDER = "touches nearly black ground at the edge of the scene{}, which may be a border"


def as_date(result: dict[str, Any], scene_path: str | Path) -> dict[str, Any]:
    """Return what `compare` needs of a result of `lane.detect` that was made with an `out_dir`."""
    keys = ("scene_hash", "acquired_at", "threshold", "minimum_area_m2", "polygons", "classes")
    return {key: result[key] for key in keys} | {
        "doubts": result.get("doubts") or [], "doubtful": list_doubtful(result.get("borders") or ()),
        "prob": result["outputs"]["prob"], "scene_path": str(scene_path), "unseen": list_unseen(result),
    }  # fmt: skip


def compare(
    newer: dict[str, Any], earlier: list[dict[str, Any]], out_dir: Path | None = None, *, guards: bool = True
) -> dict[str, Any]:
    """Say what changed on one date against the earlier ones, each pixel against the newest that shows it.

    Args:
        newer: scene_hash, acquired_at (ISO), prob (path of the kept probabilities), threshold, minimum_area_m2,
            polygons (as `lane.detect` gives them; `geometry` may be GeoJSON text), and scene_path (raster or folder,
            for the guards and the slope); `classes`, names of the bands of `prob` (one band, landslide, where absent):
            footprints are judged within their own class (key `class`; the first where absent). `dem`: heights in place
            of the scene's own.
            `unseen`: windows (column, row, width, height) that nobody looked at: as nodata, they prove nothing.
            `doubtful`: windows that may hold a border: what is found or compared there is advice.
        earlier: dates before it, of the same model, in any order, with the same keys. Their polygons may carry what is
            known of them: root_id, first_seen_at, anchor_scene (scene_hash of the date on which the outline was last
            declared new, grown or single).
        out_dir: where `change.tif`, `change.geojson` and a picture are written; None: nowhere.
        guards: measure shift and season; off only where both dates are known to be one image's.

    Returns:
        `changes` (polygon_id -> change, parent_id, grown_m2, since_at, root_id, first_seen_at, anchor_scene, caution),
        `vanished` (footprints of before that are gone, same keys and a polygon_id of their own), `compared` (what was
        measured with each date), `pixels` (new_m2, known_m2, gone_m2, joint_share), `warnings`, `outputs`.

    Raises:
        ImageryError: the kept probabilities of the newer date are gone, or of another scene now.
    """
    newer = {**newer, "polygons": read_outlines(newer["polygons"])}
    grid = read_grid(Path(newer["prob"]))
    warnings: list[str] = []
    with ExitStack() as stack:
        own = _make_date(stack, newer, grid, grid)
        if not _is_kept(own):
            raise OutputError(f"{newer['prob']} is of another scene now")
        opened = (_open(stack, facts, own, grid, warnings) for facts in choose_before(newer, earlier))
        dates = [date for date in opened if date is not None]
        image = stack.enter_context(Image(newer, grid))
        for date in dates if guards else ():
            _guard(date, own, image, warnings)
        compared = [_tell(date) for date in dates]
        usable = [d for d in dates if d.shift is None or d.shift.px <= SHIFT_MOST_PX]
        answer = judge_dates(own, usable, grid)
        _doubt(answer, own, usable, grid)
        answer["pixels"] = write_change(own, usable, grid, out_dir)
    warnings += [f"compared with {d.day}: {text}" for d in usable for text in d.cautions]
    if usable and answer["pixels"]["joint_share"] < 1:
        warnings.append(
            f"{1 - answer['pixels']['joint_share']:.1%} of the pixels are shown on one date only: no change"
        )
    outputs = {"change": str(out_dir / FILE)} if out_dir and usable else {}
    if out_dir and usable:
        write_outlines(newer, answer, out_dir / OUTLINES)
        outputs["outlines"] = str(out_dir / OUTLINES)
    if out_dir and usable and _draw(newer, grid, answer, out_dir):
        outputs["picture"] = str(out_dir / PICTURE)
    return {**answer, "compared": compared, "warnings": warnings, "outputs": outputs}


def _doubt(answer: dict[str, Any], own: Date, dates: list[Date], grid: Grid) -> None:
    """What a network says of a scene unlike its training, or beside a border, is advice: each word says why."""
    pairs = [(p["geometry"], answer["changes"][p["polygon_id"]]) for p in own.facts["polygons"]]
    pairs += [(word["geometry"], word) for word in answer["vanished"]]
    reasons: list[tuple[str, NDArray[np.bool_] | None]] = []  # None: of all of them
    if doubts := own.facts.get("doubts"):
        reasons.append((f"unlike the training: {'; '.join(doubts)}", None))
    outlines = to_pixels(shapes_of([geometry for geometry, _ in pairs]), grid)
    for date in (own, *dates):
        if date.doubtful is not None:
            where = "" if date is own else f" of {date.day}"
            reasons.append((BORDER.format(where), shapely.intersects(outlines, date.doubtful)))
    for why, touched in reasons:
        for number, (_, word) in enumerate(pairs):
            if touched is None or touched[number]:
                word["caution"] = "; ".join(filter(None, (word.get("caution"), why)))


def _draw(newer: dict[str, Any], grid: Grid, answer: dict[str, Any], out_dir: Path) -> bool:
    """Draw the picture of change, where the newer image is still there."""
    words = [(answer["changes"][p["polygon_id"]]["change"], p["geometry"]) for p in newer["polygons"]]
    words += [("vanished", v["geometry"]) for v in answer["vanished"]]
    try:
        write_change_picture(scene_of(newer), grid, out_dir / FILE, words, out_dir / PICTURE)
    except (ImageryError, KeyError):
        return False
    return True


def choose_before(newer: dict[str, Any], earlier: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the earlier dates that count, the newest first: at most so many, and those on which outlines rest."""
    taken = datetime.fromisoformat(newer["acquired_at"])
    before = [e for e in earlier if datetime.fromisoformat(e["acquired_at"]) < taken]
    before.sort(key=lambda e: (datetime.fromisoformat(e["acquired_at"]), e["scene_hash"]), reverse=True)
    near = before[:DATES_MOST]
    anchors = {p.get("anchor_scene") for e in near for p in e["polygons"] or ()}
    return near + [e for e in before[DATES_MOST:] if e["scene_hash"] in anchors]


def _open_layers(stack: ExitStack, facts: dict[str, Any], grid: Grid) -> dict[str, Layer]:
    """The kept probabilities of a date by class."""
    return {
        kind: stack.enter_context(Layer(Path(facts["prob"]), grid, number, nodata=NODATA))
        for number, kind in enumerate(classes_of(facts), start=1)
    }


def _make_date(stack: ExitStack, facts: dict[str, Any], own: Grid, grid: Grid) -> Date:
    unseen, doubtful = (join_windows(facts.get(key) or (), own, grid) for key in ("unseen", "doubtful"))
    return Date(facts, _open_layers(stack, facts, grid), unseen=unseen, doubtful=doubtful)


def _is_kept(date: Date) -> bool:
    """Whether the kept file is still of this date's scene."""
    wanted = date.facts["scene_hash"]
    return all(layer.tags.get("SCENE_HASH", wanted) == wanted for layer in date.layers.values())


def _open(stack: ExitStack, facts: dict[str, Any], own: Date, grid: Grid, warnings: list[str]) -> Date | None:
    """One earlier date, or None with a warning where its kept files do not serve."""
    day = str(facts["acquired_at"])[:10]
    try:
        date = _make_date(stack, facts, read_grid(Path(facts["prob"])), grid)
        date.cautions = list(facts.get("doubts") or ())
    except ImageryError as error:
        warnings.append(f"not compared with {day}: {error}")
        return None
    if not _is_kept(date):
        warnings.append(f"not compared with {day}: {facts['prob']} is of another scene now")
        return None
    date.polygons = read_outlines(p for p in facts["polygons"] if p.get("change") not in {"vanished", "withdrawn"})
    date.outlines = list(to_pixels(shapes_of([p["geometry"] for p in date.polygons]), grid))
    kind = classes_of(own.facts)[0]
    if not any((date.steps(box, kind) != NODATA).any() for box in strips(grid)):
        return None  # other ground
    return date


def _guard(date: Date, own: Date, image: Image, warnings: list[str]) -> None:
    """Measure shift and season of an earlier date; what is doubtful is written into its cautions."""
    least, kind = threshold_steps(float(own.facts["threshold"])), classes_of(own.facts)[0]
    grid = own.layers[kind].grid
    try:
        with Image(date.facts, grid) as older:
            date.shift, date.ratios = lay_together(image, older)
    except (ImageryError, KeyError) as error:
        said = str(error)
        for facts in (own.facts, date.facts):  # people read it: no path of the server
            if path := facts.get("scene_path"):
                said = said.replace(f"{Path(path).parent}/", "")
        date.cautions.append(f"the images cannot be laid on each other ({said})")
    else:
        if date.ratios is None:
            date.cautions.append("the season of the images could not be compared")
        if date.shift is None:
            date.cautions.append("the shift between the images could not be measured")
        elif date.shift.px > SHIFT_MOST_PX:
            warnings.append(
                f"no change is claimed against {date.day}: its image lies {date.shift.px:.1f} px off "
                f"({date.shift.columns:+.1f} columns, {date.shift.rows:+.1f} rows)"
            )
    pairs = ((own.steps(box, kind), date.steps(box, kind)) for box in strips(grid))
    date.cautions += find_season(date.ratios, *landslide_shares(pairs, least))


def _tell(date: Date) -> dict[str, Any]:
    """What was measured between the newer date and this one, for the record."""
    shift = (
        None
        if date.shift is None
        else {"columns": date.shift.columns, "rows": date.shift.rows, "blocks": date.shift.blocks}
    )
    return {
        "scene_hash": date.facts["scene_hash"], "acquired_at": date.at, "shift_px": shift,
        "median_ratios": None if date.ratios is None else list(date.ratios), "cautions": list(date.cautions),
        "claimed": date.shift is None or date.shift.px <= SHIFT_MOST_PX,
    }  # fmt: skip
