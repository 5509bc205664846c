"""Drills: exercises with a recorded or simulated failure."""

from sqlalchemy import Column, Index, String, Table, Text

from monitor.api.store import BigId, Instant, Json, SealedColumns, metadata

drill = Table(
    "drill",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=True),
    Column("by", Text, nullable=False),
    Column("scenario", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Json, nullable=True),
    Index("ix_drill_site", "site", "started_at"),
    comment="drills: messages of a recorded or simulated failure, sent by the real channels; real levels do not change",
    info={"sealed": SealedColumns()},
)
