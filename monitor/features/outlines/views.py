"""Public views on outlines drawn by people and reviews of footprints."""

from sqlalchemy import BigInteger, Column, Double, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

scene_outlines = Table(
    "scene_outlines",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("scene", Text, comment="name of the scene"),
    Column("scene_hash", Text, comment="its hash"),
    Column("acquired_at", Text, comment="when the scene was taken", info={"unit": "time"}),
    Column("outline_id", BigInteger, comment="number of the outline"),
    Column(
        "kind",
        Text,
        comment=("landslide, not_landslide (what looks like one), nothing (all of it was looked at, and holds none)"),
    ),
    Column("area_m2", Double, comment="on the ellipsoid", info={"unit": "m²"}),
    Column("geometry", Text, comment="the outline in lon/lat: one ring", info={"unit": "GeoJSON"}),
    Column("from_polygon", Text, comment="footprint that it corrects, or null"),
    Column("note", Text, comment="what was said of it"),
    Column("at", Text, comment="when it was drawn", info={"unit": "time"}),
    Column("by", Text, comment="who"),
    Column("withdrawn_at", Text, comment="when somebody took it back, or null", info={"unit": "time"}),
    Column("withdrawn_by", Text, comment="who, or null"),
    comment=(
        "What people outlined on scenes, on the page or from a file; rows are never overwritten. An "
        "outline stands where `withdrawn_at` is null."
    ),
    info={"question": "Where did the ground change on an image?"},
)

footprint_reviews = Table(
    "footprint_reviews",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("scene", Text, comment="name of the scene"),
    Column("acquired_at", Text, comment="when the scene was taken", info={"unit": "time"}),
    Column("polygon_id", Text, comment="id within scene and model"),
    Column("at", Text, comment="when it was said", info={"unit": "time"}),
    Column("verdict", Text, comment="accept, reject, redraw"),
    Column("by", Text, comment="who"),
    Column("note", Text, comment="why, or null"),
    Column(
        "geometry", Text, comment="of redraw: the outline as it is, in lon/lat; else null", info={"unit": "GeoJSON"}
    ),
    Column("mean_probability", Double, comment="of the footprint", info={"unit": "1"}),
    Column("area_m2", Double, comment="of the footprint", info={"unit": "m²"}),
    Column("model", Text, comment="name of the model that found it"),
    Column("model_hash", Text, comment="its SHA-256"),
    comment=(
        "What people said of footprints (`slopeward scenes review`), oldest and newest words alike; the "
        "newest per footprint counts."
    ),
    info={"question": "Where did the ground change on an image?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "footprint_reviews": """SELECT c.site, c.name AS scene, c.acquired_at, r.polygon_id, r.at, r.verdict, r."by", r.note, r.geometry,
  g.mean_probability, g.area_m2, g.model, g.model_hash
FROM footprint_review r JOIN scene c ON c.scene_hash = r.scene_hash
  JOIN scene_footprint g ON g.scene_hash = r.scene_hash AND g.model_hash = r.model_hash AND g.polygon_id = r.polygon_id""",
        "scene_outlines": """SELECT c.site, c.name AS scene, o.scene_hash, c.acquired_at, o.id AS outline_id, o.kind, o.area_m2, o.geometry,
  o.from_polygon_id AS from_polygon, o.note, o.at, o."by", o.withdrawn_at, o.withdrawn_by
FROM scene_outline o JOIN scene c ON c.scene_hash = o.scene_hash""",
    }
