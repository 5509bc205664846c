"""Field reports, declared events and their confirmations."""

from sqlalchemy import Column, Double, ForeignKey, Index, String, Table, Text

from monitor.storage.column_types import BigId, Instant
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

report = Table(
    "report",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False, info={"own_clock": True}),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("station", Text, nullable=True, info={"names": "station"}),
    Column("photo_url", Text, nullable=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("via", Text, nullable=True, comment="how it was sent: mqtt, command, page"),
    Column(
        "credential", Text, nullable=True, comment="proof of the sender: an account, a user of the machine, or mqtt"
    ),
    Index("ix_report_site", "site", "at"),
    info={"sealed": SealedColumns()},
)

site_event = Table(
    "site_event",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("from_at", Instant, nullable=False),
    Column("to_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False, info={"own_clock": True}),
    Column("kind", Text, nullable=False),
    Column("value", Double, nullable=True),
    Column("text", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column(
        "known_from", Instant, nullable=True, comment="when people knew of it, if it was added later; used by replays"
    ),
    Column("via", Text, nullable=False, comment="mqtt, command, page"),
    Column("withdrawn_at", Instant, nullable=True, info={"own_clock": True}),
    Column("withdrawn_by", Text, nullable=True),
    Index("ix_site_event_site", "site", "from_at"),
    info={"sealed": SealedColumns()},
)

event_confirmation = Table(
    "event_confirmation",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("event_id", BigId, ForeignKey("site_event.id"), nullable=False),
    Column("site", String(64), nullable=False),
    Column("at", Instant, nullable=False, info={"own_clock": True}),
    Column("by", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("withdrawn_at", Instant, nullable=True, info={"own_clock": True}),
    Column("withdrawn_by", Text, nullable=True),
    Index("ix_event_confirmation_event", "event_id"),
    comment="confirmation of an event by a person; without one, it explains no jump",
    info={"sealed": SealedColumns()},
)
