"""State of the service itself: progress, health checks and job runs."""

from sqlalchemy import Column, Double, Index, String, Table, Text, text

from monitor.storage.column_types import BigId, Instant, Json, translatable_text
from monitor.storage.metadata import metadata

service_state = Table(
    "service_state",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("detail", Json, nullable=False),
    comment="heartbeats of processes, for other processes: progress, session, broker",
)

service_check = Table(
    "service_check",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("state", String(8), nullable=False),
    Column("since", Instant, nullable=False),
    Column("checked_at", Instant, nullable=False),
    Column("value", Double, nullable=True),
    Column("unit", String(16), nullable=True),
    *translatable_text("found", nullable=False),
    *translatable_text("remedy", nullable=False),
    comment="newest result of each check of the service, one row per subject",
)

_FAILED = text("state IN ('failed', 'killed', 'missed')")

job_run = Table(
    "job_run",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("job", String(64), nullable=False),
    Column("site", String(64), nullable=True),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant, nullable=True),
    Column("state", String(16), nullable=False, comment="running, done, failed, killed, missed"),
    Column("detail", Text, nullable=True),
    Index("ix_job_run_started", "job", "started_at"),
    # For the view `problems`. Few runs fail, so the index is small.
    Index("ix_job_run_failed", "site", "started_at", sqlite_where=_FAILED, postgresql_where=_FAILED),
)
