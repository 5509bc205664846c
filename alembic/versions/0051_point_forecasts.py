"""Forecasts of satellite points.

Revision ID: 0051
Revises: 0050
"""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "point_issue",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("point_set_id", BigId, sa.ForeignKey("point_set.id"), nullable=False),
        sa.Column("delivery_id", BigId, nullable=False),
        sa.Column("known_at", Instant, nullable=False),
        sa.Column("issued_at", Instant, nullable=False),
        sa.Column("ended_at", Instant),
        sa.Column("last_point_id", BigId, nullable=False),
        sa.Column("newest_at", Instant),
        sa.Column("step_s", sa.Double(), nullable=False),
        sa.Column("jump_mm", sa.Double()),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("withheld", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.UniqueConstraint("point_set_id", "delivery_id", name="uq_point_issue"),
    )
    op.create_index("ix_point_issue_site", "point_issue", ["site", "id"])
    op.create_table(
        "point_issue_horizon",
        sa.Column("point_issue_id", BigId, sa.ForeignKey("point_issue.id"), primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("target_at", Instant, nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("level_rows", sa.Integer(), nullable=False),
        sa.Column("slope_rows", sa.Integer(), nullable=False),
        sa.Column("damping", sa.Double(), nullable=False),
        sa.Column("forecasts", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Double()) for name in ("inside", "error_mm", "persistence_mm", "trend_mm")),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.create_table(
        "point_forecast",
        sa.Column("point_id", BigId, sa.ForeignKey("point.id"), primary_key=True, autoincrement=False),
        sa.Column("point_issue_id", BigId, sa.ForeignKey("point_issue.id"), nullable=False),
        sa.Column("value_mm", sa.Double()),
        *(sa.Column(f"middle_{k}_mm", sa.Double()) for k in (1, 2, 3)),
        *(sa.Column(f"half_{k}_mm", sa.Double()) for k in (1, 2, 3)),
        sa.Column("on_line", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    for name in ("point_forecast", "point_issue_horizon", "point_issue"):
        op.drop_table(name)
