"""Columns of the public views on outlines drawn by people and reviews of footprints."""

from sqlalchemy import BigInteger, Column, Double, Table, Text

from monitor.store.schema.metadata import view_metadata

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
