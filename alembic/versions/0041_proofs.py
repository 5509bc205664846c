"""Tests that show whether what a model says may count for the level of a site.

Revision ID: 0041
Revises: 0040
"""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "model_proof",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("tested_at", Instant, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("made_by", "by")),
        sa.Column("by_kind", sa.String(16), nullable=False),
        *(sa.Column(name, Instant) for name in ("rows_from", "rows_until")),
        sa.Column("rows_tested", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.String(64), nullable=False) for name in ("weights", "settings", "config_sha256")),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("valid_until", Instant, nullable=False),
    )
    op.create_index("ix_model_proof_subject", "model_proof", ["site", "kind", "subject", "tested_at"])


def downgrade() -> None:
    op.drop_table("model_proof")
