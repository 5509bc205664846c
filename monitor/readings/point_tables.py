"""Tables of satellite (InSAR) points: sets, points, values and deliveries."""

from sqlalchemy import Column, Double, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from monitor.storage.column_types import BigId, Instant, Json, finite
from monitor.storage.metadata import metadata

# A set has thousands of points that share their dates, so their values have a table of their own.
point_set = Table(
    "point_set",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("direction", Text, nullable=False),
    Column("unit", String(32), nullable=False),
    Column("meta", Json, nullable=True),
    UniqueConstraint("site", "name", name="uq_point_set"),
    comment="InSAR: thousands of points that share their dates; they are not instruments",
)

point = Table(
    "point",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("point_set_id", BigId, ForeignKey("point_set.id"), nullable=False),
    Column("pid", String(64), nullable=False),
    Column("latitude", Double, nullable=False),
    Column("longitude", Double, nullable=False),
    Column("height_m", Double, nullable=True),
    Column("static", Json, nullable=True),
    UniqueConstraint("point_set_id", "pid", name="uq_point"),
    Index("ix_point_place", "point_set_id", "latitude", "longitude"),
)

point_observation = Table(
    "point_observation",
    metadata,
    Column("point_id", BigId, primary_key=True),
    Column("observed_at", Instant, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("received_at", Instant, nullable=False),
    Column("value_raw", Double, nullable=False),
    Column("sigma", Double, nullable=True),
    *finite("point_observation", "value_raw"),
    sqlite_with_rowid=False,
)

point_delivery = Table(
    "point_delivery",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("point_set_id", BigId, ForeignKey("point_set.id"), nullable=False),
    Column("file", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("newest_at", Instant, nullable=False),
    Column("stored", Integer, nullable=False),
    Column("revisions", Integer, nullable=False),
    comment="a file of points that was read: when it was finished, and how many values were new",
)
