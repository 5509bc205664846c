"""How each source of files does, and which files of it were taken.

Revision ID: 0032
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "source_poll",
        sa.Column("source", sa.String(80), primary_key=True),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("polled_at", Instant, nullable=False),
        sa.Column("success_at", Instant),
        sa.Column("since_at", Instant, nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("error_since", Instant),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_at", Instant, nullable=False),
        sa.Column("rows_new", sa.Integer(), nullable=False),
        sa.Column("rows_all", BigId, nullable=False),
    )
    op.create_table(
        "source_file",
        sa.Column("source", sa.String(80), primary_key=True),
        sa.Column("name", sa.String(500), primary_key=True),
        sa.Column("etag", sa.String(300), nullable=False),
        sa.Column("modified", sa.String(300), nullable=False),
        sa.Column("size", BigId, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("taken_at", Instant, nullable=False),
        sa.Column("reason", sa.Text()),
    )


def downgrade() -> None:
    op.drop_table("source_file")
    op.drop_table("source_poll")
