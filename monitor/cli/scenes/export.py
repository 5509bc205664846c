"""`slopeward scenes export`: footprints of a site."""

import json
from typing import TYPE_CHECKING, Any

from detection.geojson import Geometry
from monitor.cli.session import SiteOption, check_site, open_database, options, print_json, require_any
from monitor.errors import SlopewardError

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = "Example: slopeward scenes export --site north-bench > footprints.geojson"


def export(site: SiteOption) -> None:
    """Print all footprints of a site as GeoJSON; exit 4 when there is none.

    With --json each footprint is a GeoJSON Feature on a line of its own.
    """
    from monitor.store.schema.views import stream_view

    with open_database() as db, db.read() as c:
        rows = list(stream_view(c, "scene_polygons", site=site))
        check_site(c, site, rows)
    require_any(rows, f"no footprint of {site} is kept")
    found = [({k: v for k, v in row.items() if k != "geometry"}, _read_outline(row)) for row in rows]
    features = [{"type": "Feature", "properties": facts, "geometry": geometry} for facts, geometry in found]
    for one in features if options().as_json else [{"type": "FeatureCollection", "features": features}]:
        print_json(one)


def _read_outline(row: "Mapping[Any, Any]") -> Geometry:
    if not isinstance(row["geometry"], str):
        raise SlopewardError("scene_polygons.geometry is not text; run slopeward db verify")
    geometry: Geometry = json.loads(row["geometry"])
    return geometry
