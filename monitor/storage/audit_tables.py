"""The audit trail, in which each entry contains the hash of the previous one."""

from sqlalchemy import Column, Index, String, Table, Text

from monitor.storage.column_types import BigId, Instant
from monitor.storage.metadata import metadata

audit_entry = Table(
    "audit_entry",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Index("ix_audit_entry_action", "action", "subject"),
)
