"""What people say of footprints; which wait for a look, the core reads as well."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from detection.geojson import Geometry
from monitor.domain.alert import Actor
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.store.database.audit import add_audit
from monitor.store.database.rows import add_row, fill_row
from monitor.store.scenes.reviews import ReviewedFootprint, load_reviewed
from monitor.store.schema.tables import footprint_review

VERDICTS: Final = ("accept", "reject", "redraw")


def add_review(
    c: Connection,
    site: str,
    polygon_id: str,
    verdict: str,
    actor: Actor,
    now: datetime,
    *,
    note: str | None = None,
    geometry: Geometry | None = None,
    scene_hash: str | None = None,
) -> ReviewedFootprint:
    """Keep what a person says of a footprint.

    Args:
        polygon_id: its id, or an unmistakable beginning of it.
        geometry: of `redraw`: the outline in lon/lat, a GeoJSON Polygon or MultiPolygon.
        scene_hash: its scene; None: any of the site.

    Returns:
        The footprint as it stands now.

    Raises:
        NotFoundError: no such footprint, or several begin so.
        RefusedError: not a person, an unknown verdict, or a redraw without an outline.
    """
    if actor.kind != "person" or not actor.name.strip():
        raise RefusedError("a footprint is judged by a person with a name")
    if verdict not in VERDICTS:
        raise RefusedError(f"verdict {verdict!r} is none of {', '.join(VERDICTS)}")
    if (verdict == "redraw") != (geometry is not None):
        raise RefusedError("redraw, and it alone, comes with an outline")
    if geometry is not None and geometry.get("type") not in {"Polygon", "MultiPolygon"}:
        raise RefusedError(f"the outline is a {geometry.get('type')}, not a GeoJSON Polygon or MultiPolygon")
    matching = load_reviewed(c, site, scene_hash=scene_hash, polygon_id=polygon_id)
    if len(matching) != 1:
        raise NotFoundError(f"{len(matching)} footprints of {site} begin with {polygon_id!r}; one is needed")
    one = matching[0]
    review = {"at": now, "verdict": verdict, "by": actor.name, "note": note}
    outline = None if geometry is None else dict(geometry)
    add_row(c, footprint_review, fill_row(footprint_review, one, **review, geometry=outline))
    detail = {"site": site, "scene": one.scene_hash, "verdict": verdict, "note": note}
    add_audit(c, actor, "footprint.review", f"footprint:{one.polygon_id}", detail, now)
    (stands,) = load_reviewed(c, site, model_hash=one.model_hash, scene_hash=one.scene_hash, polygon_id=one.polygon_id)
    return stands
