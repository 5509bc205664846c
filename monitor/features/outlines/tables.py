"""Outlines drawn by people, reviews of detected footprints, and tiles suggested for labelling."""

from sqlalchemy import Column, Double, Index, Integer, String, Table, Text

from monitor.storage.column_types import BigId, Instant, Json
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

footprint_review = Table(
    "footprint_review",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("scene_hash", String(64), nullable=False),
    Column("model_hash", String(64), nullable=False),
    Column("polygon_id", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("verdict", String(16), nullable=False, comment="accept, reject, redraw"),
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=True),
    Column("geometry", Json, nullable=True),
    Index("ix_footprint_review", "scene_hash", "model_hash", "polygon_id"),
    comment="what a person said of a footprint; append only, the newest counts",
    info={"sealed": SealedColumns(left_out=frozenset({"geometry"}), only_added=True)},
)

scene_outline = Table(
    "scene_outline",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("scene_hash", String(64), nullable=False),
    Column("kind", String(16), nullable=False, comment="landslide, not_landslide, nothing"),
    Column("geometry", Json, nullable=False),
    Column("area_m2", Double, nullable=False),
    Column("from_model_hash", String(64), nullable=True, comment="the footprint that it corrects"),
    Column("from_polygon_id", String(64), nullable=True, comment="the footprint that it corrects"),
    Column("note", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("by", Text, nullable=False),
    Column("withdrawn_at", Instant, nullable=True),
    Column("withdrawn_by", Text, nullable=True),
    Column("min_lon", Double, nullable=True, comment="the box around it"),
    Column("min_lat", Double, nullable=True, comment="the box around it"),
    Column("max_lon", Double, nullable=True, comment="the box around it"),
    Column("max_lat", Double, nullable=True, comment="the box around it"),
    Index("ix_scene_outline", "site", "scene_hash", "min_lat", "max_lat", "min_lon", "max_lon", "at", "withdrawn_at"),
    comment="what people outlined on scenes; never overwritten, a correction is a row of its own",
    info={"sealed": SealedColumns(left_out=frozenset({"min_lon", "min_lat", "max_lon", "max_lat"}))},
)

scene_unsure = Table(
    "scene_unsure",
    metadata,
    Column("scene_hash", String(64), primary_key=True),
    Column("tile", Integer, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("model_hash", String(64), nullable=False),
    Column("min_lon", Double, nullable=False),
    Column("min_lat", Double, nullable=False),
    Column("max_lon", Double, nullable=False),
    Column("max_lat", Double, nullable=False),
    Column("doubt", Double, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("cause", String(16), nullable=False, server_default="detection"),
    Index("ix_scene_unsure", "site", "doubt"),
    comment="tiles of a scene that a model is least sure of; each cause (detection, learning) makes its own anew",
)
