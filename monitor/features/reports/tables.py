"""Tables of issued reports and of the mails that deliver them."""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from monitor.api.store import BigId, Instant, SealedColumns, metadata

issued_report = Table(
    "issued_report",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("from_at", Instant, nullable=False),
    Column("to_at", Instant, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("language", String(8), nullable=False),
    Column("facts_sha256", String(64), nullable=False),
    Column("code_version", Text, nullable=False),
    Column(
        "facts",
        Text,
        nullable=False,
        comment="all facts of the report as canonical JSON; facts_sha256 is their digest",
        info={"sha256": "facts_sha256"},
    ),
    UniqueConstraint("site", "kind", "language", "to_at", name="uq_issued_report"),
    comment="issued bulletins and shift reports with their facts; the rows are sealed",
    info={"sealed": SealedColumns(left_out=frozenset({"facts"}), only_added=True)},
)

report_mail = Table(
    "report_mail",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("report_id", BigId, ForeignKey("issued_report.id"), nullable=False),
    Column("channel", Text, nullable=False),
    Column("form", String(8), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("queued_at", Instant, nullable=False),
    Column("sent_at", Instant, nullable=True),
    Column("next_attempt_at", Instant, nullable=True),
    Column("last_error", Text, nullable=True),
    Column("idempotency_key", String(64), nullable=False, unique=True),
    Index("ix_report_mail_due", "state", "next_attempt_at"),
)
