"""What the map draws of satellite points.

Revision ID: 0052
Revises: 0051
"""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_index("ix_point_place", "point", ["point_set_id", "latitude", "longitude"])
    op.create_table(
        "point_rate",
        sa.Column("point_id", BigId, sa.ForeignKey("point.id"), primary_key=True, autoincrement=False),
        sa.Column("rate_mm_per_year", sa.Double()),
        sa.Column("error_mm_per_year", sa.Double()),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("from_at", Instant),
        sa.Column("newest_at", Instant),
    )
    op.create_table(
        "point_map",
        sa.Column("point_set_id", BigId, sa.ForeignKey("point_set.id"), primary_key=True, autoincrement=False),
        sa.Column("delivery_id", BigId, nullable=False),
        sa.Column("known_at", Instant, nullable=False),
        sa.Column("made_at", Instant, nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("from_at", Instant),
        sa.Column("newest_at", Instant),
        sa.Column("squash", sa.Double(), nullable=False),
        sa.Column("coarsest", sa.Integer()),
        sa.Column("finest", sa.Integer()),
    )
    op.create_table(
        "point_square",
        sa.Column("delivery_id", BigId, sa.ForeignKey("point_delivery.id"), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Integer(), primary_key=True, autoincrement=False) for name in ("level", "y", "x")),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("rated", sa.Integer(), nullable=False),
        *(sa.Column(f"{name}_mm_per_year", sa.Double()) for name in ("median", "least", "most")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for name in ("point_square", "point_map", "point_rate"):
        op.drop_table(name)
    op.drop_index("ix_point_place", "point")
