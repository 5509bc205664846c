"""What every instrument hangs on, how it does, how much of each month it delivered, and what people said of anomalies.

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("station", sa.Column("gateway", sa.Text(), nullable=True))
    op.add_column("station", sa.Column("power", sa.Text(), nullable=True))
    op.create_table(
        "instrument_finding",
        sa.Column("site", sa.String(64), primary_key=True),
        sa.Column("station", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), primary_key=True),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("since", Instant, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
    )
    op.create_table(
        "instrument",
        sa.Column("site", sa.String(64), primary_key=True),
        sa.Column("station", sa.String(64), primary_key=True),
        sa.Column("judged_at", Instant, nullable=False),
        sa.Column("battery_v", sa.Double()),
        sa.Column("battery_at", Instant),
        sa.Column("battery_empty_at", Instant),
        sa.Column("battery_method", sa.Text(), nullable=False),
        sa.Column("calibrated_on", sa.String(10)),
        sa.Column("calibration_due_on", sa.String(10)),
        sa.Column("spark_of", sa.String(64)),
        sa.Column("spark", sa.Text()),
    )
    op.create_table(
        "instrument_month",
        sa.Column("site", sa.String(64), primary_key=True),
        sa.Column("station", sa.String(64), primary_key=True),
        sa.Column("month", sa.String(7), primary_key=True),
        sa.Column("expected", sa.Integer(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
    )
    op.create_table(
        "anomaly_label",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("series_id", BigId, nullable=False),
        sa.Column("from_at", Instant, nullable=False),
        sa.Column("to_at", Instant, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("cause", sa.String(32), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at", Instant, nullable=False),
    )
    op.create_index("ix_anomaly_label_series", "anomaly_label", ["series_id", "from_at"])


def downgrade() -> None:
    for name in ("anomaly_label", "instrument_month", "instrument", "instrument_finding"):
        op.drop_table(name)
    op.drop_column("station", "power")
    op.drop_column("station", "gateway")
