"""Backups and runs of retention."""

from sqlalchemy import Column, Double, Table, Text

from monitor.storage.column_types import BigId, Instant
from monitor.storage.metadata import metadata

backup_run = Table(
    "backup_run",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("file", Text, nullable=False),
    Column("state", Text, nullable=False, comment="proven, made, failed"),
    Column("seconds", Double, nullable=False),
    Column("bytes", BigId, nullable=True, comment="size of the copy"),
    Column("rows", BigId, nullable=True, comment="of all tables, counted in the restored copy"),
    Column("audit_head", Text, nullable=True),
    Column("detail", Text, nullable=False),
    comment="append only: one row per backup, also per failed one",
)

retention_run = Table(
    "retention_run",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("what", Text, nullable=False),
    Column("before_at", Instant, nullable=True),
    Column("removed", BigId, nullable=False),
    Column("summaries", BigId, nullable=False),
    Column("seconds", Double, nullable=False, comment="total duration of its transactions"),
    Column("longest_ms", Double, nullable=False, comment="duration of its longest transaction"),
    comment="append only: what a run of retention deleted from one table or quantity",
)
