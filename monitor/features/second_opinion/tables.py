"""Alarms of another system that watches the same slope."""

from sqlalchemy import Column, Index, String, Table, Text

from monitor.api.store import BigId, Instant, SealedColumns, metadata

other_alarm = Table(
    "other_alarm",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("to_at", Instant, nullable=False),
    Column("station", Text, nullable=False, comment="as the other system names it; empty = none"),
    Column("level", Text, nullable=False, comment="as the other system names it; empty = unknown"),
    Column("text", Text, nullable=False),
    Column("outcome", String(32), nullable=True, comment="what people of the other system recorded; null = nothing"),
    Column("received_at", Instant, nullable=False, info={"own_clock": True}),
    Column("by", Text, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Index("ix_other_alarm_site", "site", "at"),
    comment="alarms of another system that watches the same slope; no decision reads them",
    info={"sealed": SealedColumns()},
)
