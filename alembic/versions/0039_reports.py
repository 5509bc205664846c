"""Reports that were issued, and the mails that carry them.

Revision ID: 0039
Revises: 0038
"""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "issued_report",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        *(sa.Column(name, Instant, nullable=False) for name in ("from_at", "to_at", "made_at")),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("facts_sha256", sa.String(64), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.UniqueConstraint("site", "kind", "language", "to_at", name="uq_issued_report"),
    )
    op.create_table(
        "report_mail",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("report_id", BigId, sa.ForeignKey("issued_report.id"), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("form", sa.String(8), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("queued_at", Instant, nullable=False),
        *(sa.Column(name, Instant) for name in ("sent_at", "next_attempt_at")),
        sa.Column("last_error", sa.Text()),
        sa.Column("idempotency_key", sa.String(64), nullable=False, unique=True),
    )
    op.create_index("ix_report_mail_due", "report_mail", ["state", "next_attempt_at"])


def downgrade() -> None:
    op.drop_table("report_mail")
    op.drop_table("issued_report")
