"""Image scenes and the landslide footprints detected on them."""

from sqlalchemy import Column, Double, Index, String, Table, Text

from monitor.storage.column_types import Instant, Json, translatable_text
from monitor.storage.metadata import metadata

scene = Table(
    "scene",
    metadata,
    Column("scene_hash", String(64), primary_key=True),
    Column("site", String(64), nullable=False),
    Column("name", String(256), nullable=False),
    Column("acquired_at", Instant, nullable=True),
    Column("role", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("state", Text, nullable=False, comment="waiting, done, failed, superseded"),
    *translatable_text("error", nullable=True),
    Column("valid_share", Double, nullable=True),
    Column("crs", Text, nullable=True),
    Column("pixel_area_m2", Double, nullable=True),
    Column("out_dir", Text, nullable=True),
    Column("run", Json, nullable=True),
    Index("ix_scene_site", "site", "acquired_at"),
)

scene_footprint = Table(
    "scene_footprint",
    metadata,
    Column("scene_hash", String(64), primary_key=True),
    Column("model_hash", String(64), primary_key=True),
    Column("polygon_id", String(64), primary_key=True),
    Column("model", Text, nullable=False),
    Column("class", Text, nullable=False, server_default="landslide"),
    Column("parent_id", Text, nullable=True),
    Column("change", String(16), nullable=False),
    Column("area_m2", Double, nullable=False),
    Column("grown_m2", Double, nullable=True),
    Column("mean_probability", Double, nullable=False),
    Column("geometry", Json, nullable=False),
    Column("min_lon", Double, nullable=False),
    Column("min_lat", Double, nullable=False),
    Column("max_lon", Double, nullable=False),
    Column("max_lat", Double, nullable=False),
    Column("nearest_station", Text, nullable=True),
    Column("distance_m", Double, nullable=True),
    Column("detected_at", Instant, nullable=False),
    # The current judgement on the change of the footprint: a copy of the newest row of `scene_change`.
    Column("since_at", Instant, nullable=True),
    Column("first_seen_at", Instant, nullable=True),
    Column("root_id", String(64), nullable=True),
    Column("anchor_scene", String(64), nullable=True),
    *translatable_text("caution", nullable=True),
    Column("near_stations", Json, nullable=True, comment="[[station, metres], ...] within reach, nearest first"),
    Column("susceptibility", Double, nullable=True),
    Column("susceptibility_map", String(64), nullable=True, comment="sha256 of the map that the mean is of"),
)

scene_change = Table(
    "scene_change",
    metadata,
    Column("scene_hash", String(64), primary_key=True),
    Column("model_hash", String(64), primary_key=True),
    Column("polygon_id", String(64), primary_key=True),
    Column("judged_at", Instant, primary_key=True),
    Column("change", String(16), nullable=False),
    Column("parent_id", Text, nullable=True),
    Column("grown_m2", Double, nullable=True),
    Column("since_at", Instant, nullable=True),
    Column("first_seen_at", Instant, nullable=True),
    *translatable_text("caution", nullable=True),
    comment="every judgement on a footprint, so that what was known at an instant is found; append only",
)
