"""Tables of sites, stations, site files, proposals and maintenance."""

from sqlalchemy import Boolean, Column, Double, Index, String, Table, Text, UniqueConstraint, false

from monitor.storage.column_types import BigId, Instant, Json, translatable_text
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

# Every version of each site file that was loaded. A decision is recomputed from the text in `source`.
config_version = Table(
    "config_version",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column(
        "source",
        Text,
        nullable=False,
        comment="the file itself: a decision is recomputed from it",
        info={"sha256": "sha256"},
    ),
    Column("loaded_at", Instant, nullable=False),
    Column("author", Text, nullable=False),
    *translatable_text("reason", nullable=False),
    Column("code_version", Text, nullable=False),
    UniqueConstraint("site", "sha256", "loaded_at", name="uq_config_version"),
    info={"sealed": SealedColumns(left_out=frozenset({"source"}), only_added=True)},
)

site = Table(
    "site",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("latitude", Double, nullable=False),
    Column("longitude", Double, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("levels", Json, nullable=False, comment='[{"number","name","action","auto_lower"}]'),
    Column("config_sha256", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column(
        "shadow",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="whether only the people of a trial are notified",
    ),
)

# Stations of the current site file. A station that the file no longer names has `declared` false.
station = Table(
    "station",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("latitude", Double, nullable=True),
    Column("longitude", Double, nullable=True),
    Column("height_m", Double, nullable=True),
    Column("azimuth_deg", Double, nullable=True),
    Column("plunge_deg", Double, nullable=True),
    Column("reference", Text, nullable=True),
    Column("logger", Text, nullable=True),
    Column("antenna", Text, nullable=True),
    Column("on_slope", Boolean, nullable=False),
    Column("declared", Boolean, nullable=False),
    Column("gateway", Text, nullable=True),
    Column("power", Text, nullable=True),
)

site_proposal = Table(
    "site_proposal",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("base_sha256", String(64), nullable=True),
    Column("source", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("proposed_at", Instant, nullable=False),
    Column("state", String(16), nullable=False, comment="proposed, approved, rejected, superseded"),
    Column("effect", Json, nullable=True),
    Column("differences", Json, nullable=True),
    Column("loosens_high", Boolean, nullable=False),
    Column("approved_by", Text, nullable=True),
    Column("second_by", Text, nullable=True),
    Column("decided_at", Instant, nullable=True),
    *translatable_text("decision_reason", nullable=True),
    Index("ix_site_proposal_site", "site", "state"),
    comment="a site file that waits for somebody to approve it",
    info={"sealed": SealedColumns(left_out=frozenset({"source"}))},
)

maintenance = Table(
    "maintenance",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("station", String(64), nullable=False, info={"names": "station"}),
    Column("from_at", Instant, nullable=False),
    Column("to_at", Instant, nullable=False),
    Column("by", Text, nullable=False),
    Column("second_by", Text, nullable=True),
    Column("reason", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=True),
    Column("ended_by", Text, nullable=True),
    Index("ix_maintenance_site", "site", "to_at"),
    comment="work on a station: its votes are pended up to a level, for a time",
    info={"sealed": SealedColumns()},
)
