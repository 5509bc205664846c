"""Measured false alarms of each detector, and the factor that they put on its threshold.

Revision ID: 0028
Revises: 0027
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("anomaly", sa.Column("factor", sa.Double(), nullable=True))
    op.create_table(
        "anomaly_budget",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("detector", sa.String(64), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("from_at", Instant, nullable=False),
        sa.Column("sensor_months", sa.Double(), nullable=False),
        sa.Column("reported", sa.Integer(), nullable=False),
        sa.Column("labelled", sa.Integer(), nullable=False),
        sa.Column("dismissed", sa.Integer(), nullable=False),
        sa.Column("known_cause", sa.Integer(), nullable=False),
        sa.Column("rate", sa.Double()),
        sa.Column("rate_low", sa.Double()),
        sa.Column("rate_high", sa.Double()),
        sa.Column("budget", sa.Double(), nullable=False),
        sa.Column("factor_before", sa.Double(), nullable=False),
        sa.Column("factor", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("by_kind", sa.String(16), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
    )
    op.create_index("ix_anomaly_budget_site", "anomaly_budget", ["site", "detector", "id"])


def downgrade() -> None:
    op.drop_table("anomaly_budget")
    op.drop_column("anomaly", "factor")
