"""`slopeward scenes export`, `outlines`: footprints of a site as outlines or boxes; what people outlined."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli.session import (
    NOTHING,
    SiteOption,
    check_site,
    open_database,
    options,
    print_json,
    require_any,
    say,
    show,
)
from monitor.errors import SlopewardError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detection.imagery.footprints.boxes import Picture
    from monitor.store.scenes.arrivals import SceneRow

EXAMPLE = "Example: slopeward scenes export --site north-bench > footprints.geojson"
OUTLINES_EXAMPLE = "Example: slopeward scenes outlines --site north-bench --output outlines.geojson"
PARTIAL = 3


class Form(StrEnum):
    """What is printed of a footprint."""

    OUTLINES = "outlines"
    BOXES = "boxes"
    COCO = "coco"


def export(
    site: SiteOption,
    form: Annotated[
        Form, typer.Option("--format", help="outlines or boxes as GeoJSON; coco: boxes in pixels of each scene.")
    ] = Form.OUTLINES,
) -> None:
    """Print all footprints of a site as GeoJSON or COCO; exit 4 when there is none, 3 when scenes were left out.

    With --json each footprint is a GeoJSON Feature on a line of its own.
    """
    from sqlalchemy import text

    from monitor.store.scenes.arrivals import load_scenes

    with open_database() as db, db.read() as c:
        rows = c.execute(text("SELECT * FROM scene_polygons WHERE site = :site"), {"site": site}).mappings().all()
        scenes = {row.scene_hash: row for row in load_scenes(c, site)} if form is Form.COCO else {}
        check_site(c, site, rows)
    require_any(rows, f"no footprint of {site} is kept")
    found = [({k: v for k, v in row.items() if k != "geometry"}, _read_outline(row)) for row in rows]
    if form is Form.COCO:
        _print_coco(found, scenes)
        return
    if form is Form.BOXES:
        from detection.imagery.footprints.boxes import frame

        found = [(facts, frame(geometry)) for facts, geometry in found]
    features = [{"type": "Feature", "properties": facts, "geometry": geometry} for facts, geometry in found]
    for one in features if options().as_json else [{"type": "FeatureCollection", "features": features}]:
        print_json(one)


def outlines(
    site: SiteOption,
    output: Annotated[Path | None, typer.Option("--output", help="GeoJSON file; else it is printed.")] = None,
) -> None:
    """Print what people outlined on the scenes of a site as GeoJSON; exit 4 when there is nothing.

    With --json each outline is a GeoJSON Feature on a line of its own, or the file is named with the number of them.
    """
    from detection.whole_file import replacing
    from monitor.export.maps import list_outlines

    with open_database() as db, db.read() as c:
        features = list(list_outlines(c, site))
        check_site(c, site, features)
    require_any(features, f"nothing is outlined on the scenes of {site}")
    collection = {"type": "FeatureCollection", "features": features}
    if output is None:
        for one in features if options().as_json else [collection]:
            print_json(one)
        return
    try:
        with replacing(output) as partial:
            partial.write_text(json.dumps(collection, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise SlopewardError(f"{output}: cannot be written ({error.strerror})") from None
    show({"file": str(output), "outlines": len(features)}, f"{len(features)} outlines in {output}")


def _read_outline(row: "Mapping[Any, Any]") -> dict[str, Any]:
    if not isinstance(row["geometry"], str):
        raise SlopewardError("scene_polygons.geometry is not text; run slopeward db verify")
    geometry: dict[str, Any] = json.loads(row["geometry"])
    return geometry


def _print_coco(found: "Sequence[tuple[dict[str, Any], dict[str, Any]]]", scenes: "Mapping[str, SceneRow]") -> None:
    """One COCO object of all scenes whose map is still there: boxes in pixels need its grid."""
    from detection.imagery.errors import ImageryError
    from detection.imagery.footprints.boxes import to_coco

    pictures = []
    by_scene: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for pair in found:
        by_scene.setdefault(pair[0]["scene_hash"], []).append(pair)
    for scene_hash, mine in by_scene.items():
        try:
            pictures.append(_open_picture(scenes[scene_hash], mine))
        except (ImageryError, FileNotFoundError) as error:
            why = str(error) if isinstance(error, ImageryError) else "its map is not kept any more"
            say(f"{mine[0][0]['scene']}: {why}: without its grid footprints have no pixels; left out")
    if not pictures:
        raise typer.Exit(NOTHING)
    print_json(to_coco(pictures))
    if len(pictures) < len(by_scene):
        raise typer.Exit(PARTIAL)


def _open_picture(row: "SceneRow", mine: "Sequence[tuple[dict[str, Any], dict[str, Any]]]") -> "Picture":
    from detection.imagery.footprints.boxes import Picture
    from detection.imagery.raster.raster import read_grid

    folder = Path(row.out_dir or "")
    # of one grid: the mask comes after the rows, and a service may have kept no probabilities
    path = next((one for one in (folder / "prob.tif", folder / "mask.tif") if one.is_file()), None)
    if row.out_dir is None or path is None:
        raise FileNotFoundError(folder / "mask.tif")
    footprints = [
        (geometry, str(facts["class"]),
         {"score": facts["mean_probability"], **{key: facts[key] for key in ("polygon_id", "area_m2", "model")}})
        for facts, geometry in mine
    ]  # fmt: skip
    facts = {"date_captured": str(mine[0][0]["acquired_at"]), "scene_hash": row.scene_hash}
    return Picture(row.name, read_grid(path), facts, footprints)
