"""What detectors saw at the newest acquisitions of satellite points.

Revision ID: 0050
Revises: 0049
"""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "point_look",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("point_set_id", BigId, sa.ForeignKey("point_set.id"), nullable=False),
        sa.Column("delivery_id", BigId, nullable=False),
        sa.Column("known_at", Instant, nullable=False),
        sa.Column("looked_at", Instant, nullable=False),
        sa.Column("last_point_id", BigId, nullable=False),
        sa.Column("after_point_id", BigId, nullable=False),
        sa.Column("from_at", Instant),
        sa.Column("newest_at", Instant),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("acquisitions", "points", "withheld", "alarms", "happenings", "going_on", "left_out")
        ),
        sa.Column("budget", sa.Double(), nullable=False),
        sa.Column("jump_mm", sa.Double()),
        sa.Column("thresholds", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.UniqueConstraint("point_set_id", "delivery_id", name="uq_point_look"),
    )
    op.create_index("ix_point_look_site", "point_look", ["site", "id"])
    op.create_table(
        "point_happening",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("point_look_id", BigId, sa.ForeignKey("point_look.id"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("common", sa.Boolean(), nullable=False),
        sa.Column("first_at", Instant, nullable=False),
        sa.Column("last_at", Instant, nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("judged", sa.Integer(), nullable=False),
        sa.Column("size_mm", sa.Double(), nullable=False),
        *(sa.Column(name, sa.Double()) for name in ("score", "latitude", "longitude", "radius_m")),
        sa.Column("station", sa.Text()),
        sa.Column("distance_m", sa.Double()),
        sa.Column("compared_with", sa.Text(), nullable=False),
        sa.UniqueConstraint("point_look_id", "number", name="uq_point_happening"),
    )
    op.create_table(
        "point_anomaly",
        sa.Column(
            "point_happening_id", BigId, sa.ForeignKey("point_happening.id"), primary_key=True, autoincrement=False
        ),
        sa.Column("point_id", BigId, primary_key=True, autoincrement=False),
        sa.Column("at", Instant, primary_key=True),
        sa.Column("detector", sa.String(64), nullable=False),
        sa.Column("part", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("score", "threshold", "size_mm")),
        sa.Column("compared_with", sa.Text(), nullable=False),
        sa.CheckConstraint("score > -1e300 AND score < 1e300", name="ck_point_anomaly_score_finite"),
    )
    op.create_index("ix_point_anomaly_point", "point_anomaly", ["point_id"])


def downgrade() -> None:
    for name in ("point_anomaly", "point_happening", "point_look"):
        op.drop_table(name)
