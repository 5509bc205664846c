"""State of ingest: rejected messages, sequence numbers of loggers, outages, and calculations that wait."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, false

from monitor.storage.column_types import BigId, Instant, Json, translatable_text
from monitor.storage.metadata import metadata

rejected_message = Table(
    "rejected_message",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("received_at", Instant, nullable=False),
    Column("topic", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column(
        "payload_bytes",
        BigId,
        nullable=False,
        comment="true size; of a payload above 1 MiB only the first 64 KiB are stored",
    ),
    Column("code", Text, nullable=False),
    *translatable_text("reason", nullable=False),
    Column("client", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("times", Integer, nullable=False, server_default="1"),
    Column("replayed_at", Instant, nullable=True),
    Column("replay_result", Text, nullable=True),
    Column("retained", Boolean, nullable=False, server_default=false()),
    Index("ix_rejected_message_digest", "digest"),
)

quarantine_source = Table(
    "quarantine_source",
    metadata,
    Column("source", String(200), primary_key=True),
    Column("kept_bytes", BigId, nullable=False),
    Column("kept_rows", BigId, nullable=False),
    Column("unkept", BigId, nullable=False),
    Column("unkept_at", Instant, nullable=True),
    comment="what the quarantine keeps of each source, and what it only counted",
)

sequence_state = Table(
    "sequence_state",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("source", String(128), primary_key=True),
    Column("boot_id", BigId, primary_key=True),
    Column("station", String(64), nullable=False, info={"names": "station"}),
    Column("last_seq", BigId, nullable=False),
    Column("last_at", Instant, nullable=False),
)

sequence_gap = Table(
    "sequence_gap",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("station", String(64), nullable=False, info={"names": "station"}),
    Column("source", Text, nullable=False),
    Column("boot_id", BigId, nullable=False),
    Column("from_seq", BigId, nullable=False),
    Column("to_seq", BigId, nullable=False),
    Column("from_at", Instant, nullable=True),
    Column("to_at", Instant, nullable=True),
    Column("detected_at", Instant, nullable=False),
    Column("requested_at", Instant, nullable=True),
    Column("filled_at", Instant, nullable=True),
    Index("ix_sequence_gap_open", "site", "source", "boot_id"),
)

outage_station = Table(
    "outage_station",
    metadata,
    Column("outage_id", BigId, ForeignKey("outage.id"), primary_key=True),
    Column("site", String(64), primary_key=True),
    Column("station", String(64), primary_key=True, info={"names": "station"}),
    Column("expected", Integer, nullable=True, comment="epochs, by the cadence of the station; empty = it has none"),
    Column("received", Integer, nullable=False),
    Column("late", Integer, nullable=False),
    Column("missing", Integer, nullable=True),
    Column("last_late_at", Instant, nullable=True),
    comment="what became of the readings of an outage; counted again while late ones may come",
)

calculation_pending = Table(
    "calculation_pending",
    metadata,
    Column("id", String(64), primary_key=True, comment="random: an id that was used again would hide a change"),
    Column("site", String(64), nullable=False),
    Column("series", Json, nullable=False, comment="list of `STATION.quantity`"),
    Column("from_at", Instant, nullable=False),
    Column("to_at", Instant, nullable=False),
    Column("cause", String(16), nullable=False, comment="readings, values, redefined"),
    Column(
        "keep_before",
        Instant,
        nullable=True,
        comment="stored values before it stay even if they can no longer be computed",
    ),
    Index("ix_calculation_pending_site", "site"),
    comment="calculated series that still have to be computed; a row is deleted once its values are stored",
)

profile_pending = Table(
    "profile_pending",
    metadata,
    Column("id", String(64), primary_key=True, comment="random: an id that was used again would hide a change"),
    Column("site", String(64), nullable=False),
    Column("station", String(64), nullable=False, comment="the borehole", info={"names": "station"}),
    Column("from_at", Instant, nullable=False, comment="first instant at which a survey has to be computed"),
    Column("to_at", Instant, nullable=False, comment="last such instant"),
    Index("ix_profile_pending_site", "site", "station"),
    comment="depth profiles that still have to be computed; a row is deleted once its values are stored",
)
