"""What upkeep leaves and says: summaries of old readings, runs of retention, copies, checks of the service, outages.

Revision ID: 0033
Revises: 0032
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "observation_summary",
        sa.Column("series_id", BigId, primary_key=True, autoincrement=False),
        sa.Column("starts_at", Instant, primary_key=True),
        sa.Column("span_s", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("made_at", Instant, primary_key=True),
        *(sa.Column(name, sa.Double()) for name in ("median", "minimum", "maximum", "mean")),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("flagged", sa.Integer(), nullable=False),
    )
    op.create_table(
        "retention_run",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("at", Instant, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("before_at", Instant),
        sa.Column("removed", BigId, nullable=False),
        sa.Column("summaries", BigId, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("longest_ms", sa.Double(), nullable=False),
    )
    op.create_table(
        "backup_run",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("at", Instant, nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("bytes", BigId),
        sa.Column("rows", BigId),
        sa.Column("audit_head", sa.Text()),
        sa.Column("detail", sa.Text(), nullable=False),
    )
    op.create_table(
        "service_check",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("since", Instant, nullable=False),
        sa.Column("checked_at", Instant, nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("unit", sa.String(16)),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
    )
    op.create_table(
        "outage",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("cause", sa.Text(), nullable=False),
        *(sa.Column(name, Instant, nullable=False) for name in ("from_at", "back_at", "drained_at")),
        sa.Column("counted_at", Instant),
        sa.Column("counts_until", Instant, nullable=False),
    )
    op.create_table(
        "outage_station",
        sa.Column("outage_id", BigId, sa.ForeignKey("outage.id"), primary_key=True),
        sa.Column("site", sa.String(64), primary_key=True),
        sa.Column("station", sa.String(64), primary_key=True),
        sa.Column("expected", sa.Integer()),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("late", sa.Integer(), nullable=False),
        sa.Column("missing", sa.Integer()),
        sa.Column("last_late_at", Instant),
    )


def downgrade() -> None:
    for name in (
        "outage_station", "outage", "service_check", "backup_run", "retention_run", "observation_summary",
    ):  # fmt: skip
        op.drop_table(name)
