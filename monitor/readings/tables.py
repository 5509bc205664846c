"""Tables of series and readings, with revisions, flags, offsets, gaps and summaries."""

from sqlalchemy import CheckConstraint, Column, Double, Index, Integer, String, Table, Text, UniqueConstraint, text

from monitor.storage.column_types import BigId, Instant, finite, translatable_text
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

series = Table(
    "series",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("station", String(64), nullable=False, info={"names": "station"}),
    Column("quantity", String(64), nullable=False),
    Column("unit", String(32), nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("site", "station", "quantity", name="uq_series"),
)

# Every revision of every reading. Rows are never updated: a correction is a row with the next revision.
observation = Table(
    "observation",
    metadata,
    Column("series_id", BigId, primary_key=True, info={"refers_to": "series.id"}),
    Column("observed_at", Instant, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("received_at", Instant, nullable=False),
    Column("value_raw", Double, nullable=False),
    Column("sigma", Double, nullable=True),
    Column("solution", String(16), nullable=True),
    Column("flags", Text, nullable=False, server_default="", comment="comma list set at arrival, never changed"),
    Column("extra", Text, nullable=True, comment="canonical JSON of the epoch: covariance, fix, satellites"),
    *finite("observation", "value_raw"),
    CheckConstraint("sigma IS NULL OR (sigma >= 0 AND sigma < 1e300)", name="ck_observation_sigma"),
    # Few readings carry a flag, so the index over flagged readings is small.
    Index(
        "ix_observation_flagged", "series_id", sqlite_where=text("flags <> ''"), postgresql_where=text("flags <> ''")
    ),
    Index(
        "ix_observation_unsigned",
        "series_id",
        "observed_at",
        sqlite_where=text("flags LIKE '%unsigned%'"),
        postgresql_where=text("flags LIKE '%unsigned%'"),
    ),
    sqlite_with_rowid=False,
)

observation_flag = Table(
    "observation_flag",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("series_id", BigId, nullable=False, info={"refers_to": "series.id"}),
    Column("observed_at", Instant, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("flag", Text, nullable=False),
    Column("known_from", Instant, nullable=False, info={"own_clock": True}),
    Column("by", Text, nullable=False),
    *translatable_text("reason", nullable=False),
    Index("ix_observation_flag_key", "series_id", "observed_at", "revision"),
    comment="flags added after arrival (`flag`) or withdrawn (`-flag`); append-only",
)

series_latest = Table(
    "series_latest",
    metadata,
    Column("series_id", BigId, primary_key=True, autoincrement=False, info={"refers_to": "series.id"}),
    Column("observed_at", Instant, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("received_at", Instant, nullable=False, info={"own_clock": True}),
    Column("value_raw", Double, nullable=False),
    Column("sigma", Double, nullable=True),
    Column("solution", String(16), nullable=True),
    Column("flags", Text, nullable=False),
    comment="newest epoch of each series that is not in the future, so that views need not search the history",
)

offset_entry = Table(
    "offset_entry",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("series_id", BigId, nullable=False, info={"refers_to": "series.id"}),
    Column("at", Instant, nullable=False),
    Column("known_from", Instant, nullable=False, info={"own_clock": True}),
    Column("size", Double, nullable=False),
    Column("unit", String(32), nullable=False),
    Column("kind", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("confirmed_at", Instant, nullable=True),
    Column("confirmed_by", Text, nullable=True),
    Column(
        "counts_from",
        Instant,
        nullable=True,
        comment="readers subtract the offset from this instant on; null until it is countersigned",
    ),
    Column("revoked_at", Instant, nullable=True),
    Column("revoked_by", Text, nullable=True),
    *finite("offset_entry", "size"),
    Index("ix_offset_entry_series", "series_id", "at"),
    info={"sealed": SealedColumns()},
)

reading_gap = Table(
    "reading_gap",
    metadata,
    Column("series_id", BigId, primary_key=True, info={"refers_to": "series.id"}),
    Column("to_at", Instant, primary_key=True),
    Column("from_at", Instant, primary_key=True),
    Column("missing", Integer, nullable=False),
    Column("found_at", Instant, nullable=False),
    Column("filled_at", Instant, nullable=True),
    comment="gaps between two readings of a series; `filled_at` is set when late readings fill a gap",
)

observation_summary = Table(
    "observation_summary",
    metadata,
    Column("series_id", BigId, primary_key=True, info={"refers_to": "series.id"}),
    Column("starts_at", Instant, primary_key=True),
    Column("span_s", Integer, primary_key=True),
    Column("made_at", Instant, primary_key=True, comment="readings that arrived later have another row"),
    Column("median", Double, nullable=True, comment="of readings without a flag; raw"),
    Column("minimum", Double, nullable=True, comment="of readings without a flag; raw"),
    Column("maximum", Double, nullable=True, comment="of readings without a flag; raw"),
    Column("mean", Double, nullable=True, comment="of readings without a flag; raw"),
    Column("count", Integer, nullable=False),
    Column("flagged", Integer, nullable=False),
    comment="summaries of readings that retention deleted: one row for each hour or day",
)
