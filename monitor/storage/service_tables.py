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
    comment="what other processes need to know of this one: progress stamps, session, broker",
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
    comment="how what the service stands on does: one row a subject, replaced",
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
    # For the view `problems`: runs that failed are few among those that did not.
    Index("ix_job_run_failed", "site", "started_at", sqlite_where=_FAILED, postgresql_where=_FAILED),
)
