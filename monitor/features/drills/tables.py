"""Drills: exercises with a recorded or simulated failure."""

from sqlalchemy import Column, String, Table, Text

from monitor.storage.column_types import BigId, Instant, Json
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

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
    comment="an exercise: a recorded or simulated failure up to the channels, apart from the real state",
    info={"sealed": SealedColumns()},
)
