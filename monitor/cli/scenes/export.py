"""`slopeward scenes export`, `outlines`: footprints of a site; what people outlined."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli.session import (
    SiteOption,
    check_site,
    open_database,
    options,
    print_json,
    require_any,
    show,
)
from monitor.errors import SlopewardError

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = "Example: slopeward scenes export --site north-bench > footprints.geojson"
OUTLINES_EXAMPLE = "Example: slopeward scenes outlines --site north-bench --output outlines.geojson"


def export(
    site: SiteOption,
) -> None:
    """Print all footprints of a site as GeoJSON; exit 4 when there is none.

    With --json each footprint is a GeoJSON Feature on a line of its own.
    """
    from sqlalchemy import text

    with open_database() as db, db.read() as c:
        rows = c.execute(text("SELECT * FROM scene_polygons WHERE site = :site"), {"site": site}).mappings().all()
        check_site(c, site, rows)
    require_any(rows, f"no footprint of {site} is kept")
    found = [({k: v for k, v in row.items() if k != "geometry"}, _read_outline(row)) for row in rows]
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
