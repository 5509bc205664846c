"""Holes in the records of series: since when, until when, how many readings are missing, and when they came after all.

Revision ID: 0049
Revises: 0048
"""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "reading_gap",
        sa.Column("series_id", BigId, primary_key=True, autoincrement=False),
        sa.Column("to_at", Instant, primary_key=True),
        sa.Column("from_at", Instant, primary_key=True),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.Column("found_at", Instant, nullable=False),
        sa.Column("filled_at", Instant),
    )


def downgrade() -> None:
    op.drop_table("reading_gap")
