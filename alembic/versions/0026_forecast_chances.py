"""What each criterion on forecasts said last: the chance of more than its bounds.

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "forecast_chance",
        sa.Column("site", sa.String(64), primary_key=True),
        sa.Column("criterion", sa.String(64), primary_key=True),
        sa.Column("station", sa.String(64), primary_key=True),
        sa.Column("level", sa.Integer(), primary_key=True),
        sa.Column("evaluated_at", Instant, nullable=False),
        sa.Column("data_until", Instant, nullable=False),
        sa.Column("window_s", sa.Double(), nullable=False),
        sa.Column("over_mm_per_day", sa.Double(), nullable=False),
        sa.Column("chance_from", sa.Double(), nullable=False),
        sa.Column("chance_to", sa.Double(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("crossed", sa.Boolean(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("forecast_chance")
