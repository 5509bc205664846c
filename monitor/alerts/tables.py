"""Alerts, their events, and the outcomes recorded by operators."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint, false, text

from monitor.storage.column_types import BigId, Instant, translatable_text
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

alert = Table(
    "alert",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("ledger", String(16), nullable=False),
    Column("key", String(256), nullable=False),
    Column("level", Integer, nullable=False),
    Column("peak_level", Integer, nullable=False),
    Column("state", String(32), nullable=False),
    Column("exercise", Boolean, nullable=False),
    Column("raised_at", Instant, nullable=False),
    Column("data_time", Instant, nullable=True),
    *translatable_text("reason", nullable=False),
    Column("decision_id", BigId, ForeignKey("decision.id"), nullable=True),
    Column("rule_version", Text, nullable=False),
    Column("acknowledged_at", Instant, nullable=True),
    Column("acknowledged_by", Text, nullable=True),
    Column("closed_at", Instant, nullable=True),
    Index("ix_alert_open", "site", "ledger", "key"),
    Index("ix_alert_raised", "site", "raised_at"),
    # At most one alert per site, ledger and key is open.
    Index(
        "uq_alert_open",
        "site",
        "ledger",
        "key",
        unique=True,
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
    info={"sealed": SealedColumns()},
)

alert_event = Table(
    "alert_event",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("alert_id", BigId, ForeignKey("alert.id"), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("data_time", Instant, nullable=True),
    Column("from_state", Text, nullable=True),
    Column("to_state", Text, nullable=False),
    Column("from_level", Integer, nullable=True),
    Column("to_level", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("actor_kind", Text, nullable=False),
    *translatable_text("reason", nullable=False),
    Column("decision_id", BigId, nullable=True),
    Column("via", Text, nullable=True),
    Column("until_at", Instant, nullable=True),
    Column(
        "shadow",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="whether the site was in shadow mode, so that only the people of the trial were notified",
    ),
    UniqueConstraint("alert_id", "sequence", name="uq_alert_event"),
    info={"sealed": SealedColumns(only_added=True)},
)

alert_outcome = Table(
    "alert_outcome",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("alert_id", BigId, ForeignKey("alert.id"), nullable=False),
    Column("class", String(32), nullable=False),
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Index("ix_alert_outcome_alert", "alert_id"),
    info={"sealed": SealedColumns(only_added=True)},
)
