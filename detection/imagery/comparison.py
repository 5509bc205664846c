"""The lane of change: the newest date beside the earlier ones of the same ground; plain dictionaries in and out."""

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from shapely.geometry import shape as shape_of

from detection.imagery.change_picture import FILE as PICTURE
from detection.imagery.change_picture import write_change_picture
from detection.imagery.components import NODATA
from detection.imagery.errors import ImageryError, OutputError
from detection.imagery.grid import Grid
from detection.imagery.guards import SHIFT_MOST_PX, find_season, landslide_shares, lay_together, scene_of
from detection.imagery.judging import DATES_MOST, FILE, Date, Pair
from detection.imagery.overlay import Layer, strips, to_pixels
from detection.imagery.polygons import threshold_steps
from detection.imagery.raster import read_grid

log = logging.getLogger(__name__)


def as_date(result: dict[str, Any], scene_path: str | Path) -> dict[str, Any]:
    """Return what `compare` needs of a result of `lane.detect` that was made with an `out_dir`."""
    keys = ("scene_hash", "acquired_at", "threshold", "minimum_area_m2", "polygons")
    # the first band of the probabilities is the first class: only its outlines can be compared
    main = next(iter(result.get("classes") or ["landslide"]))
    facts = {key: result[key] for key in keys}
    return {**facts, "prob": result["outputs"]["prob"], "scene_path": str(scene_path), "main_class": main}


def compare(
    newer: dict[str, Any], earlier: list[dict[str, Any]], out_dir: Path | None = None, *, guards: bool = True
) -> dict[str, Any]:
    """Say what changed on one date against the earlier ones, each pixel against the newest that shows it.

    Args:
        newer: scene_hash, acquired_at (ISO), prob (path of the kept probabilities), threshold, minimum_area_m2,
            polygons (as `lane.detect` gives them), and scene_path (raster or folder, for the guards and the slope);
            `main_class` where the model knows several: outlines of the others stay single.
        earlier: dates before it, of the same model, in any order, with the same keys. Their polygons may carry what is
            known of them: root_id, first_seen_at, anchor_scene (scene_hash of the date on which the outline was last
            declared new, grown or single).
        out_dir: where `change.tif` is written; None: nowhere.
        guards: measure shift and season; off only where both dates are known to be one image's.

    Returns:
        `changes` (polygon_id -> change, parent_id, grown_m2, since_at, root_id, first_seen_at, anchor_scene, caution),
        `vanished` (footprints of before that are gone, same keys and a polygon_id of their own), `compared` (what was
        measured with each date), `pixels` (new_m2, known_m2, gone_m2, joint_share), `warnings`, `outputs`.

    Raises:
        ImageryError: the kept probabilities of the newer date are gone, or of another scene now.
    """
    grid = read_grid(Path(newer["prob"]))
    warnings: list[str] = []
    with ExitStack() as stack:
        own = Date(newer, stack.enter_context(Layer(Path(newer["prob"]), grid, nodata=NODATA)))
        if own.layer.tags.get("SCENE_HASH", newer["scene_hash"]) != newer["scene_hash"]:
            raise OutputError(f"{newer['prob']} is of another scene now")
        dates = [
            date for facts in _order(newer, earlier) if (date := _open(stack, facts, own, warnings, guards)) is not None
        ]
        compared = [_tell(date) for date in dates]
        usable = [d for d in dates if d.shift is None or d.shift.px <= SHIFT_MOST_PX]
        pair = Pair(own, usable, grid, stack.enter_context(ExitStack()))
        answer = pair.judge()
        answer["pixels"] = pair.write(out_dir)
    warnings += [f"compared with {d.day}: {text}" for d in usable for text in d.cautions]
    if usable and answer["pixels"]["joint_share"] < 1:
        warnings.append(
            f"{1 - answer['pixels']['joint_share']:.1%} of the pixels are shown on one date only: no change"
        )
    outputs = {"change": str(out_dir / FILE)} if out_dir and usable else {}
    if out_dir and usable and _draw(newer, grid, answer, out_dir):
        outputs["picture"] = str(out_dir / PICTURE)
    return {**answer, "compared": compared, "warnings": warnings, "outputs": outputs}


def _draw(newer: dict[str, Any], grid: Grid, answer: dict[str, Any], out_dir: Path) -> bool:
    """Draw the picture of change, where the newer image is still there."""
    words = [(answer["changes"][p["polygon_id"]]["change"], p["geometry"]) for p in newer["polygons"]]
    words += [("vanished", v["geometry"]) for v in answer["vanished"]]
    try:
        write_change_picture(scene_of(newer), grid, out_dir / FILE, words, out_dir / PICTURE)
    except (ImageryError, KeyError):
        return False
    return True


def _order(newer: dict[str, Any], earlier: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Earlier dates, the newest first; at most so many, and those on which outlines rest."""
    taken = datetime.fromisoformat(newer["acquired_at"])
    before = [e for e in earlier if datetime.fromisoformat(e["acquired_at"]) < taken]
    before.sort(key=lambda e: (datetime.fromisoformat(e["acquired_at"]), e["scene_hash"]), reverse=True)
    near = before[:DATES_MOST]
    anchors = {p.get("anchor_scene") for e in near for p in e["polygons"]}
    return near + [e for e in before[DATES_MOST:] if e["scene_hash"] in anchors]


def _open(stack: ExitStack, facts: dict[str, Any], own: Date, warnings: list[str], guards: bool) -> Date | None:
    """One earlier date, or None with a warning where its kept files do not serve."""
    path, day = Path(facts["prob"]), str(facts["acquired_at"])[:10]
    try:
        layer = stack.enter_context(Layer(path, own.layer.grid, nodata=NODATA))
    except ImageryError as error:
        warnings.append(f"not compared with {day}: {error}")
        return None
    kept = layer.tags.get("SCENE_HASH", facts["scene_hash"])
    if kept != facts["scene_hash"]:
        warnings.append(f"not compared with {day}: {path} is of another scene now")
        return None
    date = Date(facts, layer)
    date.polygons = [p for p in facts["polygons"] if p.get("change") not in {"vanished", "withdrawn"}]
    date.outlines = [to_pixels(shape_of(p["geometry"]), own.layer.grid) for p in date.polygons]
    if not any((date.steps(box) != NODATA).any() for box in strips(own.layer.grid)):
        return None  # other ground
    if guards:
        _guard(date, own, warnings)
    return date


def _guard(date: Date, own: Date, warnings: list[str]) -> None:
    """Measure shift and season of an earlier date; what is doubtful is written into its cautions."""
    least = threshold_steps(float(own.facts["threshold"]))
    try:
        date.shift, date.ratios = lay_together(own.facts, date.facts, own.layer.grid)
    except (ImageryError, KeyError) as error:
        date.cautions.append(f"the images cannot be laid on each other ({error})")
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
    pairs = ((own.steps(box), date.steps(box)) for box in strips(own.layer.grid))
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
