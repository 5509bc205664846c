"""Outlines that people draw on scenes, and the tiles that a model is least sure of.

Revision ID: 0043
Revises: 0042
"""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "scene_outline",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("scene_hash", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("geometry", sa.Text(), nullable=False),
        sa.Column("area_m2", sa.Double(), nullable=False),
        sa.Column("from_model_hash", sa.String(64)),
        sa.Column("from_polygon_id", sa.String(64)),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", Instant),
        sa.Column("withdrawn_by", sa.Text()),
    )
    op.create_index("ix_scene_outline", "scene_outline", ["site", "scene_hash"])
    op.create_table(
        "scene_unsure",
        sa.Column("scene_hash", sa.String(64), primary_key=True),
        sa.Column("tile", sa.Integer(), primary_key=True),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("model_hash", sa.String(64), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("min_lon", "min_lat", "max_lon", "max_lat", "doubt")),
        sa.Column("made_at", Instant, nullable=False),
    )
    op.create_index("ix_scene_unsure", "scene_unsure", ["site", "doubt"])


def downgrade() -> None:
    op.drop_table("scene_unsure")
    op.drop_table("scene_outline")
