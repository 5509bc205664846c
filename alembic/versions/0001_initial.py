"""The first schema: every table of monitor/store/schema/tables.py as of version 0.1.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Instant = sa.String(27).with_variant(sa.String(27, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "anomaly",
        sa.Column("series_id", BigId, autoincrement=False, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("detector", sa.String(length=64), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("budget", sa.Double(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("alerted", sa.Boolean(), nullable=False),
        sa.Column("model_hash", sa.String(length=64), nullable=True),
        sa.Column("scored_at", Instant, nullable=False),
        sa.CheckConstraint("score > -1e300 AND score < 1e300", name="ck_anomaly_score_finite"),
        sa.CheckConstraint("threshold > -1e300 AND threshold < 1e300", name="ck_anomaly_threshold_finite"),
        sa.PrimaryKeyConstraint("series_id", "at", "detector"),
    )
    op.create_table(
        "audit_entry",
        sa.Column("id", BigId, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "config_version",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("loaded_at", Instant, nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("site", "sha256", "loaded_at", name="uq_config_version"),
    )
    op.create_table(
        "conformal_state",
        sa.Column("series_id", BigId, autoincrement=False, nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("horizon_s", sa.Double(), nullable=False),
        sa.Column("nominal", sa.Double(), nullable=False),
        sa.Column("alpha_t", sa.Double(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("series_id", "model", "horizon_s", "nominal"),
    )
    op.create_table(
        "decision",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("code_version", sa.String(length=64), nullable=False),
        sa.Column("config_sha256", sa.String(length=64), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("evidence_sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "evaluation",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("observability", sa.Text(), nullable=False),
        sa.Column("reachable_level", sa.Integer(), nullable=False),
        sa.Column("known_until", Instant, nullable=True),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_evaluation_site_at", "evaluation", ["site", "at"], unique=False)
    op.create_table(
        "failure_time",
        sa.Column("id", BigId, nullable=False),
        sa.Column("series_id", BigId, nullable=False),
        sa.Column("issued_at", Instant, nullable=False),
        sa.Column("data_until", Instant, nullable=False),
        sa.Column("window_from", Instant, nullable=False),
        sa.Column("window_mid", Instant, nullable=False),
        sa.Column("window_to", Instant, nullable=False),
        sa.Column("n_filters", sa.Integer(), nullable=True),
        sa.Column("n_agree", sa.Integer(), nullable=True),
        sa.Column("r2", sa.Double(), nullable=True),
        sa.Column("velocity_mm_per_day", sa.Double(), nullable=True),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_failure_time_series", "failure_time", ["series_id", "issued_at"], unique=False)
    op.create_table(
        "forecast",
        sa.Column("id", BigId, nullable=False),
        sa.Column("series_id", BigId, nullable=False),
        sa.Column("issued_at", Instant, nullable=False),
        sa.Column("data_until", Instant, nullable=False),
        sa.Column("as_of_received_at", Instant, nullable=False),
        sa.Column("target_at", Instant, nullable=False),
        sa.Column("horizon_s", sa.Double(), nullable=False),
        sa.Column("q025", sa.Double(), nullable=False),
        sa.Column("q10", sa.Double(), nullable=False),
        sa.Column("q50", sa.Double(), nullable=False),
        sa.Column("q90", sa.Double(), nullable=False),
        sa.Column("q975", sa.Double(), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("model_hash", sa.String(length=64), nullable=False),
        sa.Column("baseline", sa.String(length=64), nullable=False),
        sa.Column("baseline_q50", sa.Double(), nullable=False),
        sa.Column("data_value", sa.Double(), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.Column("margin_80", sa.Double(), nullable=True),
        sa.Column("margin_95", sa.Double(), nullable=True),
        sa.Column(
            "target_month", sa.String(length=7), sa.Computed("substr(target_at, 1, 7)", persisted=True), nullable=True
        ),
        sa.CheckConstraint("baseline_q50 > -1e300 AND baseline_q50 < 1e300", name="ck_forecast_baseline_q50_finite"),
        sa.CheckConstraint("data_value > -1e300 AND data_value < 1e300", name="ck_forecast_data_value_finite"),
        sa.CheckConstraint("q025 > -1e300 AND q025 < 1e300", name="ck_forecast_q025_finite"),
        sa.CheckConstraint("q10 > -1e300 AND q10 < 1e300", name="ck_forecast_q10_finite"),
        sa.CheckConstraint("q50 > -1e300 AND q50 < 1e300", name="ck_forecast_q50_finite"),
        sa.CheckConstraint("q90 > -1e300 AND q90 < 1e300", name="ck_forecast_q90_finite"),
        sa.CheckConstraint("q975 > -1e300 AND q975 < 1e300", name="ck_forecast_q975_finite"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("series_id", "model", "model_hash", "issued_at", "horizon_s", name="uq_forecast"),
    )
    op.create_index(
        "ix_forecast_month",
        "forecast",
        ["series_id", "model", "horizon_s", "target_month", "q025", "q10", "q90", "q975", "id"],
        unique=False,
    )
    op.create_index("ix_forecast_series_issued", "forecast", ["series_id", "issued_at"], unique=False)
    op.create_index("ix_forecast_series_model", "forecast", ["series_id", "model", "issued_at"], unique=False)
    op.create_index("ix_forecast_target", "forecast", ["target_at"], unique=False)
    op.create_table(
        "forecast_score",
        sa.Column("forecast_id", BigId, autoincrement=False, nullable=False),
        sa.Column("observed_at", Instant, nullable=False),
        sa.Column("observed", sa.Double(), nullable=False),
        sa.Column("error", sa.Double(), nullable=False),
        sa.Column("baseline_error", sa.Double(), nullable=False),
        sa.Column("persistence_error", sa.Double(), nullable=False),
        sa.Column("inside_80", sa.Boolean(), nullable=False),
        sa.Column("inside_95", sa.Boolean(), nullable=False),
        sa.Column("pinball", sa.Double(), nullable=False),
        sa.Column("winkler_80", sa.Double(), nullable=False),
        sa.Column("scored_at", Instant, nullable=False),
        sa.CheckConstraint(
            "baseline_error > -1e300 AND baseline_error < 1e300", name="ck_forecast_score_baseline_error_finite"
        ),
        sa.CheckConstraint("error > -1e300 AND error < 1e300", name="ck_forecast_score_error_finite"),
        sa.CheckConstraint("observed > -1e300 AND observed < 1e300", name="ck_forecast_score_observed_finite"),
        sa.CheckConstraint(
            "persistence_error > -1e300 AND persistence_error < 1e300",
            name="ck_forecast_score_persistence_error_finite",
        ),
        sa.CheckConstraint("pinball > -1e300 AND pinball < 1e300", name="ck_forecast_score_pinball_finite"),
        sa.CheckConstraint("winkler_80 > -1e300 AND winkler_80 < 1e300", name="ck_forecast_score_winkler_80_finite"),
        sa.PrimaryKeyConstraint("forecast_id"),
    )
    op.create_table(
        "forecast_withheld",
        sa.Column("id", BigId, nullable=False),
        sa.Column("series_id", BigId, nullable=False),
        sa.Column("issued_at", Instant, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "job_run",
        sa.Column("id", BigId, nullable=False),
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=True),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("finished_at", Instant, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_job_run_started", "job_run", ["job", "started_at"], unique=False)
    op.create_table(
        "model",
        sa.Column("model_hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("task", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("promoted_at", Instant, nullable=True),
        sa.Column("retired_at", Instant, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("model_hash"),
    )
    op.create_table(
        "observation",
        sa.Column("series_id", BigId, autoincrement=False, nullable=False),
        sa.Column("observed_at", Instant, nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("value_raw", sa.Double(), nullable=False),
        sa.Column("sigma", sa.Double(), nullable=True),
        sa.Column("solution", sa.String(length=16), nullable=True),
        sa.Column("flags", sa.Text(), server_default="", nullable=False),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.CheckConstraint("sigma IS NULL OR (sigma >= 0 AND sigma < 1e300)", name="ck_observation_sigma"),
        sa.CheckConstraint("value_raw > -1e300 AND value_raw < 1e300", name="ck_observation_value_raw_finite"),
        sa.PrimaryKeyConstraint("series_id", "observed_at", "revision"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "observation_flag",
        sa.Column("id", BigId, nullable=False),
        sa.Column("series_id", BigId, nullable=False),
        sa.Column("observed_at", Instant, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("flag", sa.Text(), nullable=False),
        sa.Column("known_from", Instant, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_observation_flag_key", "observation_flag", ["series_id", "observed_at", "revision"], unique=False
    )
    op.create_table(
        "offset_entry",
        sa.Column("id", BigId, nullable=False),
        sa.Column("series_id", BigId, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("known_from", Instant, nullable=False),
        sa.Column("size", sa.Double(), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("confirmed_at", Instant, nullable=True),
        sa.Column("confirmed_by", sa.Text(), nullable=True),
        sa.Column("revoked_at", Instant, nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.CheckConstraint("size > -1e300 AND size < 1e300", name="ck_offset_entry_size_finite"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_offset_entry_series", "offset_entry", ["series_id", "at"], unique=False)
    op.create_table(
        "point_observation",
        sa.Column("point_id", BigId, autoincrement=False, nullable=False),
        sa.Column("observed_at", Instant, nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("value_raw", sa.Double(), nullable=False),
        sa.CheckConstraint("value_raw > -1e300 AND value_raw < 1e300", name="ck_point_observation_value_raw_finite"),
        sa.PrimaryKeyConstraint("point_id", "observed_at", "revision"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "point_set",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("meta", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("site", "name", name="uq_point_set"),
    )
    op.create_table(
        "rejected_message",
        sa.Column("id", BigId, nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("payload_bytes", BigId, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("times", sa.Integer(), server_default="1", nullable=False),
        sa.Column("replayed_at", Instant, nullable=True),
        sa.Column("replay_result", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_rejected_message_digest", "rejected_message", ["digest"], unique=False)
    op.create_table(
        "report",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("station", sa.Text(), nullable=True),
        sa.Column("photo_url", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "scene",
        sa.Column("scene_hash", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("acquired_at", Instant, nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("valid_share", sa.Double(), nullable=True),
        sa.Column("crs", sa.Text(), nullable=True),
        sa.Column("pixel_area_m2", sa.Double(), nullable=True),
        sa.Column("out_dir", sa.Text(), nullable=True),
        sa.Column("run", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("scene_hash"),
    )
    op.create_index("ix_scene_site", "scene", ["site", "acquired_at"], unique=False)
    op.create_table(
        "scene_footprint",
        sa.Column("scene_hash", sa.String(length=64), nullable=False),
        sa.Column("model_hash", sa.String(length=64), nullable=False),
        sa.Column("polygon_id", sa.String(length=64), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("change", sa.String(length=16), nullable=False),
        sa.Column("area_m2", sa.Double(), nullable=False),
        sa.Column("grown_m2", sa.Double(), nullable=True),
        sa.Column("mean_probability", sa.Double(), nullable=False),
        sa.Column("geometry", sa.Text(), nullable=False),
        sa.Column("min_lon", sa.Double(), nullable=False),
        sa.Column("min_lat", sa.Double(), nullable=False),
        sa.Column("max_lon", sa.Double(), nullable=False),
        sa.Column("max_lat", sa.Double(), nullable=False),
        sa.Column("nearest_station", sa.Text(), nullable=True),
        sa.Column("distance_m", sa.Double(), nullable=True),
        sa.Column("detected_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("scene_hash", "model_hash", "polygon_id"),
    )
    op.create_table(
        "sequence_gap",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("boot_id", BigId, nullable=False),
        sa.Column("from_seq", BigId, nullable=False),
        sa.Column("to_seq", BigId, nullable=False),
        sa.Column("from_at", Instant, nullable=True),
        sa.Column("to_at", Instant, nullable=True),
        sa.Column("detected_at", Instant, nullable=False),
        sa.Column("requested_at", Instant, nullable=True),
        sa.Column("filled_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_sequence_gap_open", "sequence_gap", ["site", "source", "boot_id"], unique=False)
    op.create_table(
        "sequence_state",
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("boot_id", BigId, autoincrement=False, nullable=False),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("last_seq", BigId, nullable=False),
        sa.Column("last_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("site", "source", "boot_id"),
    )
    op.create_table(
        "series",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.String(length=64), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("site", "station", "quantity", name="uq_series"),
    )
    op.create_table(
        "series_latest",
        sa.Column("series_id", BigId, autoincrement=False, nullable=False),
        sa.Column("observed_at", Instant, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("value_raw", sa.Double(), nullable=False),
        sa.Column("sigma", sa.Double(), nullable=True),
        sa.Column("solution", sa.String(length=16), nullable=True),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("series_id"),
    )
    op.create_table(
        "service_state",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=False),
        sa.Column("longitude", sa.Double(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("levels", sa.Text(), nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "site_event",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("from_at", Instant, nullable=False),
        sa.Column("to_at", Instant, nullable=False),
        sa.Column("received_at", Instant, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "site_state",
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("level_source", sa.Text(), nullable=False),
        sa.Column("since", Instant, nullable=False),
        sa.Column("evaluated_at", Instant, nullable=False),
        sa.Column("observability", sa.Text(), nullable=False),
        sa.Column("reachable_level", sa.Integer(), nullable=False),
        sa.Column("witnesses_available", sa.Integer(), nullable=False),
        sa.Column("health", sa.Text(), nullable=False),
        sa.Column("movement_stage", sa.Text(), nullable=True),
        sa.Column("trend", sa.Text(), nullable=True),
        sa.Column("newest_at", Instant, nullable=True),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("site"),
    )
    op.create_table(
        "station",
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("longitude", sa.Double(), nullable=True),
        sa.Column("height_m", sa.Double(), nullable=True),
        sa.Column("azimuth_deg", sa.Double(), nullable=True),
        sa.Column("plunge_deg", sa.Double(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("logger", sa.Text(), nullable=True),
        sa.Column("antenna", sa.Text(), nullable=True),
        sa.Column("on_slope", sa.Boolean(), nullable=False),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("site", "id"),
    )
    op.create_table(
        "station_state",
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since", Instant, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("newest_at", Instant, nullable=True),
        sa.Column("expected_interval_s", sa.Double(), nullable=True),
        sa.Column("missing_share_24h", sa.Double(), nullable=True),
        sa.Column("votes", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("site", "station"),
    )
    op.create_table(
        "user_account",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("disabled_at", Instant, nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "web_session",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("user_name", sa.String(length=64), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("token_sha256"),
    )
    op.create_table(
        "alert",
        sa.Column("id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("ledger", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("peak_level", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("exercise", sa.Boolean(), nullable=False),
        sa.Column("raised_at", Instant, nullable=False),
        sa.Column("data_time", Instant, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decision_id", BigId, nullable=True),
        sa.Column("rule_version", sa.Text(), nullable=False),
        sa.Column("acknowledged_at", Instant, nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("closed_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(
            ["decision_id"],
            ["decision.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_alert_open", "alert", ["site", "ledger", "key"], unique=False)
    op.create_index("ix_alert_raised", "alert", ["site", "raised_at"], unique=False)
    op.create_index(
        "uq_alert_open",
        "alert",
        ["site", "ledger", "key"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "point",
        sa.Column("id", BigId, nullable=False),
        sa.Column("point_set_id", BigId, nullable=False),
        sa.Column("pid", sa.String(length=64), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=False),
        sa.Column("longitude", sa.Double(), nullable=False),
        sa.Column("height_m", sa.Double(), nullable=True),
        sa.Column("static", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["point_set_id"],
            ["point_set.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("point_set_id", "pid", name="uq_point"),
    )
    op.create_table(
        "alert_event",
        sa.Column("id", BigId, nullable=False),
        sa.Column("alert_id", BigId, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("data_time", Instant, nullable=True),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("from_level", sa.Integer(), nullable=True),
        sa.Column("to_level", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decision_id", BigId, nullable=True),
        sa.ForeignKeyConstraint(
            ["alert_id"],
            ["alert.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("alert_id", "sequence", name="uq_alert_event"),
    )
    op.create_table(
        "alert_outcome",
        sa.Column("id", BigId, nullable=False),
        sa.Column("alert_id", BigId, nullable=False),
        sa.Column("class", sa.String(length=32), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"],
            ["alert.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "notification",
        sa.Column("id", BigId, nullable=False),
        sa.Column("alert_id", BigId, nullable=False),
        sa.Column("event_id", BigId, nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("ledger", sa.String(length=16), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("level_name", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("exercise", sa.Boolean(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("queued_at", Instant, nullable=False),
        sa.Column("sent_at", Instant, nullable=True),
        sa.Column("confirmed_at", Instant, nullable=True),
        sa.Column("next_attempt_at", Instant, nullable=True),
        sa.Column("superseded_by", BigId, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", Instant, nullable=True),
        sa.Column("idempotency_key", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["alert_id"],
            ["alert.id"],
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["alert_event.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("idempotency_key"),
    )
    op.create_index("ix_notification_alert", "notification", ["alert_id"], unique=False)
    op.create_index("ix_notification_due", "notification", ["state", "next_attempt_at"], unique=False)


def downgrade() -> None:
    op.drop_table("notification")
    op.drop_table("alert_outcome")
    op.drop_table("alert_event")
    op.drop_table("point")
    op.drop_table("alert")
    op.drop_table("web_session")
    op.drop_table("user_account")
    op.drop_table("station_state")
    op.drop_table("station")
    op.drop_table("site_state")
    op.drop_table("site_event")
    op.drop_table("site")
    op.drop_table("service_state")
    op.drop_table("series_latest")
    op.drop_table("series")
    op.drop_table("sequence_state")
    op.drop_table("sequence_gap")
    op.drop_table("scene_footprint")
    op.drop_table("scene")
    op.drop_table("report")
    op.drop_table("rejected_message")
    op.drop_table("point_set")
    op.drop_table("point_observation")
    op.drop_table("offset_entry")
    op.drop_table("observation_flag")
    op.drop_table("observation")
    op.drop_table("model")
    op.drop_table("job_run")
    op.drop_table("forecast_withheld")
    op.drop_table("forecast_score")
    op.drop_table("forecast")
    op.drop_table("failure_time")
    op.drop_table("evaluation")
    op.drop_table("decision")
    op.drop_table("conformal_state")
    op.drop_table("config_version")
    op.drop_table("audit_entry")
    op.drop_table("anomaly")
