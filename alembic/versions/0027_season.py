"""Trend, season and remainder of each series, as the newest night found them.

Revision ID: 0027
Revises: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "season",
        sa.Column("series_id", BigId, primary_key=True, autoincrement=False),
        sa.Column("computed_at", Instant, nullable=False),
        sa.Column("grid", sa.String(8), nullable=False),
        sa.Column("period_rows", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("first_at", Instant),
        sa.Column("last_at", Instant),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("trend_strength", sa.Double()),
        sa.Column("season_strength", sa.Double()),
        sa.Column("season_range", sa.Double()),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("components", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("season")
