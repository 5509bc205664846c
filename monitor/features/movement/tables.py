"""Movement stage of each station, and predicted failure times."""

from sqlalchemy import Boolean, Column, Double, Index, Integer, String, Table, UniqueConstraint

from monitor.api.store import BigId, Instant, Json, metadata, translatable_text

movement = Table(
    "movement",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("series_id", BigId, nullable=False, info={"refers_to": "series.id"}),
    Column("at", Instant, nullable=False),
    Column("data_until", Instant, nullable=True),
    Column("stage", String(16), nullable=False, comment="the words of forecasting.kinematics.stages"),
    Column("trend", String(16), nullable=False, comment="the words of forecasting.kinematics.stages"),
    Column("velocity_mm_per_day", Double, nullable=True),
    Column("velocity_error_mm_per_day", Double, nullable=True),
    Column("velocity_window_s", Double, nullable=True),
    Column("acceleration_mm_per_day2", Double, nullable=True),
    Column("acceleration_error_mm_per_day2", Double, nullable=True),
    Column("tangential_angle_deg", Double, nullable=True),
    Column("v_eq_mm_per_day", Double, nullable=True),
    Column("inverse_velocity_day_per_mm", Double, nullable=True),
    Column("probability", Double, nullable=True),
    *translatable_text("reasons", nullable=False),
    Column("state", Json, nullable=False, comment="what the next update needs: counters of the hysteresis"),
    UniqueConstraint("series_id", "at", name="uq_movement"),
    comment="how a station moves, one row per update; append only",
)

failure_time = Table(
    "failure_time",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("series_id", BigId, nullable=False, info={"refers_to": "series.id"}),
    Column("issued_at", Instant, nullable=False),
    Column("data_until", Instant, nullable=False),
    Column("window_from", Instant, nullable=False),
    Column("window_mid", Instant, nullable=False),
    Column("window_to", Instant, nullable=False),
    Column("n_filters", Integer, nullable=True),
    Column("n_agree", Integer, nullable=True),
    Column("r2", Double, nullable=True),
    Column("velocity_mm_per_day", Double, nullable=True),
    Column("trusted", Boolean, nullable=False),
    *translatable_text("reasons", nullable=False),
    Column("withdrawn_at", Instant, nullable=True),
    Column(
        "method",
        String(32),
        nullable=False,
        server_default="inverse_velocity",
        comment="or forecast: where its quantiles cross the failure velocity",
    ),
    Column("onset_at", Instant, nullable=True),
    *translatable_text("withdrawn_reason", nullable=True),
    Index("ix_failure_time_series", "series_id", "issued_at"),
)
