"""Movement of stations, methods of failure windows, maintenance, proposals of site files, drills.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")


MONTH = ["series_id", "model", "horizon_s", "target_month", "q025", "q10", "q90", "q975"]


def upgrade() -> None:
    op.drop_index("ix_forecast_month", table_name="forecast")
    op.create_index("ix_forecast_month", "forecast", [*MONTH, "stage", "id"], unique=False)
    with op.batch_alter_table("failure_time") as batch:
        batch.add_column(sa.Column("method", sa.String(32), nullable=False, server_default="inverse_velocity"))
        batch.add_column(sa.Column("onset_at", Instant, nullable=True))
        batch.add_column(sa.Column("withdrawn_reason", sa.Text(), nullable=True))
    with op.batch_alter_table("point_observation") as batch:
        batch.add_column(sa.Column("sigma", sa.Double(), nullable=True))
    op.create_table(
        "point_delivery",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("point_set_id", BigId, nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("newest_at", Instant, nullable=False),
        sa.Column("stored", sa.Integer(), nullable=False),
        sa.Column("revisions", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["point_set_id"], ["point_set.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("scene_footprint") as batch:
        batch.add_column(sa.Column("class", sa.Text(), nullable=False, server_default="landslide"))
        batch.add_column(sa.Column("since_at", Instant, nullable=True))
        batch.add_column(sa.Column("first_seen_at", Instant, nullable=True))
        batch.add_column(sa.Column("root_id", sa.String(64), nullable=True))
        batch.add_column(sa.Column("anchor_scene", sa.String(64), nullable=True))
        batch.add_column(sa.Column("caution", sa.Text(), nullable=True))
        batch.add_column(sa.Column("near_stations", sa.Text(), nullable=True))
    op.create_table(
        "scene_change",
        sa.Column("scene_hash", sa.String(64), nullable=False),
        sa.Column("model_hash", sa.String(64), nullable=False),
        sa.Column("polygon_id", sa.String(64), nullable=False),
        sa.Column("judged_at", Instant, nullable=False),
        sa.Column("change", sa.String(16), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("grown_m2", sa.Double(), nullable=True),
        sa.Column("since_at", Instant, nullable=True),
        sa.Column("first_seen_at", Instant, nullable=True),
        sa.Column("caution", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("scene_hash", "model_hash", "polygon_id", "judged_at"),
    )
    op.create_table(
        "footprint_review",
        sa.Column("id", BigId, nullable=False),
        sa.Column("scene_hash", sa.String(64), nullable=False),
        sa.Column("model_hash", sa.String(64), nullable=False),
        sa.Column("polygon_id", sa.String(64), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("geometry", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_footprint_review", "footprint_review", ["scene_hash", "model_hash", "polygon_id"], unique=False
    )
    op.create_table(
        "movement",
        sa.Column("id", BigId, nullable=False),
        sa.Column("series_id", BigId, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("data_until", Instant, nullable=True),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("trend", sa.String(16), nullable=False),
        sa.Column("velocity_mm_per_day", sa.Double(), nullable=True),
        sa.Column("velocity_error_mm_per_day", sa.Double(), nullable=True),
        sa.Column("acceleration_mm_per_day2", sa.Double(), nullable=True),
        sa.Column("acceleration_error_mm_per_day2", sa.Double(), nullable=True),
        sa.Column("tangential_angle_deg", sa.Double(), nullable=True),
        sa.Column("v_eq_mm_per_day", sa.Double(), nullable=True),
        sa.Column("inverse_velocity_day_per_mm", sa.Double(), nullable=True),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("series_id", "at", name="uq_movement"),
    )
    op.create_table(
        "maintenance",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("station", sa.String(64), nullable=False),
        sa.Column("from_at", Instant, nullable=False),
        sa.Column("to_at", Instant, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("second_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("added_at", Instant, nullable=False),
        sa.Column("ended_at", Instant, nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_maintenance_site", "maintenance", ["site", "to_at"], unique=False)
    op.create_table(
        "site_proposal",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("base_sha256", sa.String(64), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_at", Instant, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("effect", sa.Text(), nullable=True),
        sa.Column("differences", sa.Text(), nullable=True),
        sa.Column("loosens_high", sa.Boolean(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("second_by", sa.Text(), nullable=True),
        sa.Column("decided_at", Instant, nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_site_proposal_site", "site_proposal", ["site", "state"], unique=False)
    op.create_table(
        "drill",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(64), nullable=False),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("ended_at", Instant, nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("scenario", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "model_gate",
        sa.Column("model_hash", sa.String(64), nullable=False),
        sa.Column("horizon_s", sa.Double(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", Instant, nullable=False),
        sa.Column("counts_from", Instant, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("issues", sa.Integer(), nullable=False),
        sa.Column("mae", sa.Double(), nullable=True),
        sa.Column("baseline_mae", sa.Double(), nullable=True),
        sa.Column("skill", sa.Double(), nullable=True),
        sa.Column("coverage_80", sa.Double(), nullable=True),
        sa.Column("worst_80", sa.Double(), nullable=True),
        sa.Column("worst_station", sa.Text(), nullable=True),
        sa.Column("coverage_95", sa.Double(), nullable=True),
        sa.Column("judged_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("model_hash", "horizon_s"),
    )
    op.create_table(
        "model_transition",
        sa.Column("id", BigId, nullable=False),
        sa.Column("model_hash", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("task", sa.String(32), nullable=False),
        sa.Column("site", sa.String(64), nullable=True),
        sa.Column("horizon_s", sa.Double(), nullable=True),
        sa.Column("at", Instant, nullable=False),
        sa.Column("from_state", sa.String(16), nullable=True),
        sa.Column("to_state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("by_kind", sa.Text(), nullable=False),
        sa.Column("second_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_model_transition_hash", "model_transition", ["model_hash", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_forecast_month", table_name="forecast")
    op.create_index("ix_forecast_month", "forecast", [*MONTH, "id"], unique=False)
    op.drop_table("model_transition")
    op.drop_table("model_gate")
    op.drop_table("drill")
    op.drop_table("site_proposal")
    op.drop_table("maintenance")
    op.drop_table("movement")
    op.drop_table("footprint_review")
    op.drop_table("scene_change")
    with op.batch_alter_table("scene_footprint") as batch:
        for name in ("near_stations", "caution", "anchor_scene", "root_id", "first_seen_at", "since_at", "class"):
            batch.drop_column(name)
    op.drop_table("point_delivery")
    with op.batch_alter_table("point_observation") as batch:
        batch.drop_column("sigma")
    with op.batch_alter_table("failure_time") as batch:
        batch.drop_column("withdrawn_reason")
        batch.drop_column("onset_at")
        batch.drop_column("method")
