"""Every table of the service. Decisions, forecasts and audit only ever add rows; SQL for people is in views.py.

Names: tables are singular, the public views plural or composite (see docs/reference/sql.md).
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from forecasting.message import Message, values_to_json
from monitor.store.schema.types import BigId, Instant, Json, Number, finite

metadata = MetaData()


def _text(name: str, *, null: bool = False, **kw: object) -> Column[str]:
    return Column(name, Text, nullable=null, **kw)  # type: ignore[arg-type]


def _message(name: str, *, null: bool = False) -> tuple[Column[Any], ...]:
    """A text of the program beside its id and values; both stay empty where a person wrote the text.

    An insert fills them by itself; an update names them: `**spread({name: text})`.
    """

    def find_id(context: Any) -> str | None:
        return getattr(context.get_current_parameters().get(name), "id", None)

    def find_values(context: Any) -> dict[str, Any] | None:
        said = context.get_current_parameters().get(name)
        return values_to_json(said.values) if isinstance(said, Message) else None

    return (
        _text(name, null=null), Column(f"{name}_id", Text, default=find_id),
        Column(f"{name}_values", Json, default=find_values),
    )  # fmt: skip


def _withdrawn() -> tuple[Column[Any], Column[Any]]:
    """When somebody took back what the row says, and who; empty = it stands."""
    return Column("withdrawn_at", Instant), _text("withdrawn_by", null=True)


# ---- sites -----------------------------------------------------------------------------------------------------
config_version = Table(
    "config_version", metadata,
    Column("id", BigId, primary_key=True),
    _text("site"), _text("sha256"), _text("source"),  # the file itself: a decision is recomputed from it
    Column("loaded_at", Instant, nullable=False),
    _text("author"), *_message("reason"), _text("code_version"),
    UniqueConstraint("site", "sha256", "loaded_at", name="uq_config_version"),
)  # fmt: skip

site = Table(
    "site", metadata,
    Column("id", String(64), primary_key=True),
    _text("name"), Column("latitude", Number, nullable=False), Column("longitude", Number, nullable=False),
    _text("timezone"), Column("levels", Json, nullable=False),  # [{"number","name","action","auto_lower"}]
    _text("config_sha256"), Column("active", Boolean, nullable=False),
)  # fmt: skip

station = Table(
    "station", metadata,
    Column("site", String(64), primary_key=True), Column("id", String(64), primary_key=True),
    Column("latitude", Number), Column("longitude", Number), Column("height_m", Number),
    Column("azimuth_deg", Number), Column("plunge_deg", Number),
    _text("reference", null=True), _text("logger", null=True), _text("antenna", null=True),
    Column("on_slope", Boolean, nullable=False), Column("declared", Boolean, nullable=False),
    _text("gateway", null=True), _text("power", null=True),
)  # fmt: skip

site_state = Table(
    "site_state", metadata,
    Column("site", String(64), primary_key=True),
    Column("level", Integer, nullable=False), _text("level_source"), Column("since", Instant, nullable=False),
    Column("evaluated_at", Instant, nullable=False), _text("observability"), Column("reachable_level", Integer, nullable=False),
    Column("witnesses_available", Integer, nullable=False), _text("health"),
    _text("movement_stage", null=True), _text("trend", null=True), Column("newest_at", Instant), _text("config_sha256"),
    Column("state", Json, nullable=False),  # ladder memory: dwell, votes, pending steps, holds
    Column("catching_up", Boolean),  # readings that waited were being read: levels may rise, silence was not judged
)  # fmt: skip

station_state = Table(
    "station_state", metadata,
    Column("site", String(64), primary_key=True), Column("station", String(64), primary_key=True),
    _text("state"), Column("since", Instant, nullable=False), *_message("reason"), Column("newest_at", Instant),
    Column("expected_interval_s", Number), Column("missing_share_24h", Number), Column("votes", Boolean, nullable=False),
)  # fmt: skip

# what each criterion on forecasts said last; a row goes with its forecast
forecast_chance = Table(
    "forecast_chance", metadata,
    Column("site", String(64), primary_key=True), Column("criterion", String(64), primary_key=True),
    Column("station", String(64), primary_key=True), Column("level", Integer, primary_key=True),
    Column("evaluated_at", Instant, nullable=False), Column("data_until", Instant, nullable=False),
    Column("window_s", Number, nullable=False), Column("over_mm_per_day", Number, nullable=False),
    Column("chance_from", Number, nullable=False), Column("chance_to", Number, nullable=False),
    Column("probability", Number, nullable=False), Column("crossed", Boolean, nullable=False), _text("model"),
    _text("config_sha256"),
)  # fmt: skip

# how each instrument does beside what decisions look at: found by a job, read by people, and by no decision
instrument_finding = Table(
    "instrument_finding", metadata,
    Column("site", String(64), primary_key=True), Column("station", String(64), primary_key=True), Column("state", String(16), primary_key=True),
    Column("rank", Integer, nullable=False), Column("since", Instant, nullable=False), *_message("reason"), *_message("action"),
)  # fmt: skip
instrument = Table(
    "instrument", metadata,
    Column("site", String(64), primary_key=True), Column("station", String(64), primary_key=True), Column("judged_at", Instant, nullable=False),
    Column("battery_v", Number), Column("battery_at", Instant), Column("battery_empty_at", Instant), *_message("battery_method"),
    Column("calibrated_on", String(10)), Column("calibration_due_on", String(10)),
    Column("spark_of", String(64)), Column("spark", Json),  # values of equal spans, None = nothing came
)  # fmt: skip
instrument_month = Table(
    "instrument_month", metadata,
    Column("site", String(64), primary_key=True), Column("station", String(64), primary_key=True), Column("month", String(7), primary_key=True),
    Column("expected", Integer, nullable=False), Column("received", Integer, nullable=False),
)  # fmt: skip

evaluation = Table(
    "evaluation", metadata,
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("at", Instant, nullable=False),
    _text("trigger"),  # data, tick, person, start
    Column("level", Integer, nullable=False), _text("observability"), Column("reachable_level", Integer, nullable=False),
    Column("known_until", Instant),  # newest received_at that was seen
    _text("config_sha256"), _text("digest"),  # of state after
    Index("ix_evaluation_site_at", "site", "at"),
)  # fmt: skip

# ---- observations ----------------------------------------------------------------------------------------------
series = Table(
    "series", metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False), Column("station", String(64), nullable=False), Column("quantity", String(64), nullable=False),
    Column("unit", String(32), nullable=False), Column("created_at", Instant, nullable=False),
    UniqueConstraint("site", "station", "quantity", name="uq_series"),
)  # fmt: skip

observation = Table(
    "observation", metadata,
    Column("series_id", BigId, primary_key=True, autoincrement=False),
    Column("observed_at", Instant, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("received_at", Instant, nullable=False), Column("value_raw", Number, nullable=False), Column("sigma", Number),
    Column("solution", String(16)), Column("flags", Text, nullable=False, server_default=""),  # comma list set at arrival, never changed
    _text("extra", null=True),  # canonical JSON of the epoch: covariance, fix, satellites
    *finite("observation", "value_raw"),
    CheckConstraint("sigma IS NULL OR (sigma >= 0 AND sigma < 1e300)", name="ck_observation_sigma"),
    Index("ix_observation_flagged", "series_id", sqlite_where=text("flags <> ''"), postgresql_where=text("flags <> ''")),
    sqlite_with_rowid=False,
)  # fmt: skip

observation_flag = Table(
    "observation_flag", metadata,  # later flags, append-only: `flag` or `-flag` withdraws
    Column("id", BigId, primary_key=True),
    Column("series_id", BigId, nullable=False), Column("observed_at", Instant, nullable=False), Column("revision", Integer, nullable=False),
    _text("flag"), Column("known_from", Instant, nullable=False), _text("by"), *_message("reason"),
    Index("ix_observation_flag_key", "series_id", "observed_at", "revision"),
)  # fmt: skip

series_latest = Table(
    "series_latest", metadata,  # newest not future-dated epoch of each series, so that no view walks the history
    Column("series_id", BigId, primary_key=True, autoincrement=False),
    Column("observed_at", Instant, nullable=False), Column("revision", Integer, nullable=False),
    Column("received_at", Instant, nullable=False), Column("value_raw", Number, nullable=False), Column("sigma", Number),
    Column("solution", String(16)), Column("flags", Text, nullable=False),
)  # fmt: skip

offset_entry = Table(
    "offset_entry", metadata,
    Column("id", BigId, primary_key=True), Column("series_id", BigId, nullable=False),
    Column("at", Instant, nullable=False), Column("known_from", Instant, nullable=False),
    Column("size", Number, nullable=False), Column("unit", String(32), nullable=False), _text("kind"), _text("author"), _text("reason"),
    Column("confirmed_at", Instant), _text("confirmed_by", null=True), Column("revoked_at", Instant), _text("revoked_by", null=True),
    *finite("offset_entry", "size"), Index("ix_offset_entry_series", "series_id", "at"),
)  # fmt: skip

point_set = Table(
    "point_set", metadata,  # InSAR: thousands of points that share dates; apart from instruments
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("name", String(128), nullable=False),
    _text("direction"), Column("unit", String(32), nullable=False), Column("meta", Json), UniqueConstraint("site", "name", name="uq_point_set"),
)  # fmt: skip
point = Table(
    "point", metadata,
    Column("id", BigId, primary_key=True), Column("point_set_id", BigId, ForeignKey("point_set.id"), nullable=False), Column("pid", String(64), nullable=False),
    Column("latitude", Number, nullable=False), Column("longitude", Number, nullable=False), Column("height_m", Number), Column("static", Json),
    UniqueConstraint("point_set_id", "pid", name="uq_point"), Index("ix_point_place", "point_set_id", "latitude", "longitude"),
)  # fmt: skip
point_observation = Table(
    "point_observation", metadata,
    Column("point_id", BigId, primary_key=True, autoincrement=False), Column("observed_at", Instant, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False), Column("received_at", Instant, nullable=False),
    Column("value_raw", Number, nullable=False), Column("sigma", Number), *finite("point_observation", "value_raw"), sqlite_with_rowid=False,
)  # fmt: skip
point_delivery = Table(
    "point_delivery", metadata,  # a file of points that came in: when it was through, and what was new in it
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("point_set_id", BigId, ForeignKey("point_set.id"), nullable=False),
    _text("file"), Column("received_at", Instant, nullable=False), Column("newest_at", Instant, nullable=False),
    Column("stored", Integer, nullable=False), Column("revisions", Integer, nullable=False),
)  # fmt: skip
point_look = Table(
    "point_look", metadata,  # a look of the detectors at the newest acquisitions of a set; append only
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("point_set_id", BigId, ForeignKey("point_set.id"), nullable=False),
    Column("delivery_id", BigId, nullable=False), Column("known_at", Instant, nullable=False),  # values that came in later were not looked at
    Column("looked_at", Instant, nullable=False), Column("last_point_id", BigId, nullable=False), Column("after_point_id", BigId, nullable=False),  # points up to this one were looked at before
    Column("from_at", Instant), Column("newest_at", Instant),  # acquisitions in (from_at, newest_at] were new
    Column("acquisitions", Integer, nullable=False), Column("points", Integer, nullable=False), Column("withheld", Integer, nullable=False),
    Column("alarms", Integer, nullable=False), Column("happenings", Integer, nullable=False), Column("going_on", Integer, nullable=False), Column("left_out", Integer, nullable=False),
    Column("budget", Number, nullable=False), Column("jump_mm", Number), Column("thresholds", Json, nullable=False), Column("digest", String(64), nullable=False),
    *_message("reason"),  # why nothing was looked at; empty = it was
    UniqueConstraint("point_set_id", "delivery_id", name="uq_point_look"), Index("ix_point_look_site", "site", "id"),
)  # fmt: skip
point_happening = Table(
    "point_happening", metadata,  # one cause: points that alarm together, or what most points of the set did the same way
    Column("id", BigId, primary_key=True), Column("point_look_id", BigId, ForeignKey("point_look.id"), nullable=False), Column("number", Integer, nullable=False),
    Column("kind", String(16), nullable=False), Column("common", Boolean, nullable=False), Column("first_at", Instant, nullable=False), Column("last_at", Instant, nullable=False),
    Column("points", Integer, nullable=False), Column("judged", Integer, nullable=False), Column("size_mm", Number, nullable=False), Column("score", Number),  # the largest, in thresholds
    Column("latitude", Number), Column("longitude", Number), Column("radius_m", Number), _text("station", null=True), Column("distance_m", Number), *_message("compared_with"),
    UniqueConstraint("point_look_id", "number", name="uq_point_happening"),
)  # fmt: skip
point_anomaly = Table(
    "point_anomaly", metadata,  # where an alarm of a point begins; the strongest of a look
    Column("point_happening_id", BigId, ForeignKey("point_happening.id"), primary_key=True, autoincrement=False), Column("point_id", BigId, primary_key=True, autoincrement=False),
    Column("at", Instant, primary_key=True), Column("detector", String(64), nullable=False), Column("part", String(64), nullable=False), Column("kind", String(16), nullable=False),
    Column("score", Number, nullable=False), Column("threshold", Number, nullable=False), Column("size_mm", Number, nullable=False), *_message("compared_with"),
    *finite("point_anomaly", "score"), Index("ix_point_anomaly_point", "point_id"),
)  # fmt: skip
point_issue = Table(
    "point_issue", metadata,  # forecasts of a set of points after a delivery; which of them still stands, each row of point_forecast says
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("point_set_id", BigId, ForeignKey("point_set.id"), nullable=False),
    Column("delivery_id", BigId, nullable=False), Column("known_at", Instant, nullable=False),  # values that came in later were not read
    Column("issued_at", Instant, nullable=False), Column("ended_at", Instant), Column("last_point_id", BigId, nullable=False),  # ended_at is empty while it is written
    Column("newest_at", Instant), Column("step_s", Number, nullable=False), Column("jump_mm", Number),
    Column("points", Integer, nullable=False), Column("withheld", Integer, nullable=False), Column("digest", String(64), nullable=False),
    *_message("reason"),  # why nothing was forecast; empty = it was
    UniqueConstraint("point_set_id", "delivery_id", name="uq_point_issue"), Index("ix_point_issue_site", "site", "id"),
)  # fmt: skip
point_issue_horizon = Table(
    "point_issue_horizon", metadata,  # the rule of an issue at one horizon, and what it did on dates that were held out
    Column("point_issue_id", BigId, ForeignKey("point_issue.id"), primary_key=True, autoincrement=False), Column("number", Integer, primary_key=True, autoincrement=False),
    Column("steps", Integer, nullable=False), Column("target_at", Instant, nullable=False), Column("model", String(64), nullable=False),
    Column("level_rows", Integer, nullable=False), Column("slope_rows", Integer, nullable=False), Column("damping", Number, nullable=False),
    Column("forecasts", Integer, nullable=False), Column("inside", Number), Column("error_mm", Number), Column("persistence_mm", Number), Column("trend_mm", Number),
    *_message("reason"),  # why the horizon is withheld; empty = it is not
)  # fmt: skip
point_forecast = Table(
    "point_forecast", metadata,  # the newest forecast of a point, one row; an older issue is made again from the readings
    Column("point_id", BigId, ForeignKey("point.id"), primary_key=True, autoincrement=False), Column("point_issue_id", BigId, ForeignKey("point_issue.id"), nullable=False),
    Column("value_mm", Number),
    Column("middle_1_mm", Number), Column("middle_2_mm", Number), Column("middle_3_mm", Number),  # by number of the horizon; empty = withheld
    Column("half_1_mm", Number), Column("half_2_mm", Number), Column("half_3_mm", Number),  # to either end of the interval of 80 %
    Column("on_line", Integer, nullable=False),  # at which horizons the point follows the trend in place of the rule of the set: 1, 2, 4 added up
    *_message("reason"),  # why there is none at one horizon or more; empty = all are there
)  # fmt: skip

point_rate = Table(
    "point_rate", metadata,  # mean velocity of a point over its whole record, as the newest delivery that was gone through left it
    Column("point_id", BigId, ForeignKey("point.id"), primary_key=True, autoincrement=False),
    Column("rate_mm_per_year", Number), Column("error_mm_per_year", Number), Column("epochs", Integer, nullable=False),  # empty = too few acquisitions
    Column("from_at", Instant), Column("newest_at", Instant),
)  # fmt: skip
point_map = Table(
    "point_map", metadata,  # what the map draws of a set: made after a delivery, in the place of what stood there
    Column("point_set_id", BigId, ForeignKey("point_set.id"), primary_key=True, autoincrement=False), Column("delivery_id", BigId, nullable=False),
    Column("known_at", Instant, nullable=False), Column("made_at", Instant, nullable=False), Column("points", Integer, nullable=False),
    Column("from_at", Instant), Column("newest_at", Instant),
    Column("squash", Number, nullable=False),  # height of a square by its width, in degrees
    Column("coarsest", Integer), Column("finest", Integer),  # levels of squares; empty = none are needed
)  # fmt: skip
point_square = Table(
    "point_square", metadata,  # points of one square together: 360 degrees of longitude by 2 ** level
    Column("delivery_id", BigId, ForeignKey("point_delivery.id"), primary_key=True, autoincrement=False), Column("level", Integer, primary_key=True, autoincrement=False),
    Column("y", Integer, primary_key=True, autoincrement=False), Column("x", Integer, primary_key=True, autoincrement=False),
    Column("points", Integer, nullable=False), Column("rated", Integer, nullable=False),
    Column("median_mm_per_year", Number), Column("least_mm_per_year", Number), Column("most_mm_per_year", Number), sqlite_with_rowid=False,
)  # fmt: skip

rejected_message = Table(
    "rejected_message", metadata,
    Column("id", BigId, primary_key=True), Column("received_at", Instant, nullable=False), _text("topic"), Column("payload", LargeBinary, nullable=False),
    Column("payload_bytes", BigId, nullable=False),  # true size; the payload kept is cut at the limit
    _text("code"), *_message("reason"), _text("client"), Column("digest", String(64), nullable=False), Column("times", Integer, nullable=False, server_default="1"),
    Column("replayed_at", Instant), _text("replay_result", null=True), Column("retained", Boolean, nullable=False, server_default=false()),
    Index("ix_rejected_message_digest", "digest"),
)  # fmt: skip

quarantine_source = Table(
    "quarantine_source", metadata,  # what the quarantine keeps of each source, and what it only counted
    Column("source", String(200), primary_key=True), Column("kept_bytes", BigId, nullable=False), Column("kept_rows", BigId, nullable=False),
    Column("unkept", BigId, nullable=False), Column("unkept_at", Instant),
)  # fmt: skip

sequence_state = Table(
    "sequence_state", metadata,
    Column("site", String(64), primary_key=True), Column("source", String(128), primary_key=True), Column("boot_id", BigId, primary_key=True, autoincrement=False),
    Column("station", String(64), nullable=False), Column("last_seq", BigId, nullable=False), Column("last_at", Instant, nullable=False),
)  # fmt: skip
sequence_gap = Table(
    "sequence_gap", metadata,
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("station", String(64), nullable=False), _text("source"),
    Column("boot_id", BigId, nullable=False), Column("from_seq", BigId, nullable=False), Column("to_seq", BigId, nullable=False),
    Column("from_at", Instant), Column("to_at", Instant), Column("detected_at", Instant, nullable=False),
    Column("requested_at", Instant), Column("filled_at", Instant), Index("ix_sequence_gap_open", "site", "source", "boot_id"),
)  # fmt: skip

report = Table(
    "report", metadata,
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("at", Instant, nullable=False), Column("received_at", Instant, nullable=False),
    _text("kind"), _text("text"), _text("by"), _text("station", null=True), _text("photo_url", null=True), Column("digest", String(64), nullable=False, unique=True),
    _text("via", null=True), _text("credential", null=True),  # what proved who sent it
)  # fmt: skip
site_event = Table(
    "site_event", metadata,
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("from_at", Instant, nullable=False), Column("to_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False), _text("kind"), Column("value", Number), _text("text"), _text("by"), Column("digest", String(64), nullable=False, unique=True),
    Column("known_from", Instant),  # said by who added it later; only a replay goes by it, for it was not known then to the service
    _text("via"),  # mqtt, command, page
    *_withdrawn(),
)  # fmt: skip
event_confirmation = Table(
    "event_confirmation", metadata,  # a person stands behind an event: only then it explains a step
    Column("id", BigId, primary_key=True), Column("event_id", BigId, ForeignKey("site_event.id"), nullable=False), Column("site", String(64), nullable=False),
    Column("at", Instant, nullable=False), _text("by"), _text("via"), _text("reason"), *_withdrawn(), Index("ix_event_confirmation_event", "event_id"),
)  # fmt: skip

# ---- forecasts -------------------------------------------------------------------------------------------------
forecast = Table(
    "forecast", metadata,  # one wide row per target; append only, never updated; values are absolute at target_at
    Column("id", BigId, primary_key=True), Column("series_id", BigId, nullable=False), Column("issued_at", Instant, nullable=False),
    Column("data_until", Instant, nullable=False), Column("as_of_received_at", Instant, nullable=False), Column("target_at", Instant, nullable=False),
    Column("horizon_s", Number, nullable=False), Column("q025", Number, nullable=False), Column("q10", Number, nullable=False), Column("q50", Number, nullable=False),
    Column("q90", Number, nullable=False), Column("q975", Number, nullable=False), Column("model", String(64), nullable=False), Column("model_hash", String(64), nullable=False),
    Column("baseline", String(64), nullable=False), Column("baseline_q50", Number, nullable=False), Column("data_value", Number, nullable=False),  # at data_until
    Column("shown", Boolean, nullable=False), *_message("reason"), _text("stage", null=True), Column("latency_ms", Number),
    Column("margin_80", Number), Column("margin_95", Number),  # added to both ends by adaptive intervals: feedback needs it
    Column("novelty", Number),  # of the present against what calibration saw: above 1 it lay outside
    Column("replaces", String(64)),  # of a kinematic forecast: what would be shown
    *finite("forecast", "q025", "q10", "q50", "q90", "q975", "baseline_q50", "data_value"),
    UniqueConstraint("series_id", "model", "model_hash", "issued_at", "horizon_s", name="uq_forecast"),
    Index("ix_forecast_series_issued", "series_id", "issued_at"), Index("ix_forecast_target", "target_at"),
    Index("ix_forecast_series_model", "series_id", "model", "issued_at"),  # the last issue of each model by seeks
    Column("target_month", String(7), Computed("substr(target_at, 1, 7)", persisted=True)),
    # all that the monthly views read of a forecast, in the order they group it: neither wide rows nor a sort
    Index("ix_forecast_month", "series_id", "model", "horizon_s", "target_month", "stage", "id", "q025", "q10", "q90", "q975"),
)  # fmt: skip
forecast_withheld = Table(
    "forecast_withheld", metadata,
    Column("id", BigId, primary_key=True), Column("series_id", BigId, nullable=False), Column("issued_at", Instant, nullable=False), _text("model"), *_message("reason"),
)  # fmt: skip
forecast_score = Table(
    "forecast_score", metadata,
    Column("forecast_id", BigId, primary_key=True, autoincrement=False), Column("observed_at", Instant, nullable=False), Column("observed", Number, nullable=False),
    Column("error", Number, nullable=False), Column("baseline_error", Number, nullable=False), Column("persistence_error", Number, nullable=False),
    Column("inside_80", Boolean, nullable=False), Column("inside_95", Boolean, nullable=False), Column("pinball", Number, nullable=False),
    Column("winkler_80", Number, nullable=False), Column("scored_at", Instant, nullable=False),
    Column("crps", Number), Column("pit", Number),  # of the whole fan
    Column("situation", String(16)),  # critical, accelerating, after a step, after rain, steady, creep
    *finite("forecast_score", "observed", "error", "baseline_error", "persistence_error", "pinball", "winkler_80"),
    # all that the monthly views read of a score: rows lie in the order in which targets were observed, page by page of others
    Index(
        "ix_forecast_score_figures", "forecast_id",
        postgresql_include=["error", "baseline_error", "persistence_error", "inside_80", "inside_95", "pinball", "winkler_80", "crps", "pit", "situation"],
    ).ddl_if(dialect="postgresql"),  # SQLite finds a row by its number, with all that it holds
)  # fmt: skip
model = Table(
    "model", metadata,
    Column("model_hash", String(64), primary_key=True), Column("kind", String(64), nullable=False), Column("task", String(32), nullable=False),  # forecast, anomaly, scene
    Column("site", String(64)), Column("state", String(16), nullable=False),  # candidate, shadow, active, retired
    _text("path"), Column("card", Json, nullable=False), Column("created_at", Instant, nullable=False), Column("promoted_at", Instant), Column("retired_at", Instant), *_message("reason", null=True),
)  # fmt: skip
model_gate = Table(
    "model_gate", metadata,  # how a checkpoint stands at each horizon; changes are rows of model_transition
    Column("model_hash", String(64), primary_key=True), Column("horizon_s", Number, primary_key=True),
    Column("state", String(16), nullable=False), Column("since", Instant, nullable=False),  # shadow, active
    Column("counts_from", Instant, nullable=False),  # forecasts issued before its last coming into the shadow say nothing
    *_message("reason"), Column("issues", Integer, nullable=False), Column("mae", Number), Column("baseline_mae", Number), Column("skill", Number),
    Column("coverage_80", Number), Column("worst_80", Number), _text("worst_station", null=True), Column("coverage_95", Number),
    Column("judged_at", Instant, nullable=False),
)  # fmt: skip
model_transition = Table(
    "model_transition", metadata,  # append only
    Column("id", BigId, primary_key=True), Column("model_hash", String(64), nullable=False), Column("kind", String(64), nullable=False),
    Column("task", String(32), nullable=False), Column("site", String(64)), Column("horizon_s", Number),  # null: the checkpoint as a whole
    Column("at", Instant, nullable=False), Column("from_state", String(16)), Column("to_state", String(16), nullable=False), *_message("reason"),
    _text("by"), _text("by_kind"), _text("second_by", null=True), Index("ix_model_transition_hash", "model_hash", "id"),
)  # fmt: skip
conformal_state = Table(
    "conformal_state", metadata,
    Column("series_id", BigId, primary_key=True, autoincrement=False), Column("model", String(64), primary_key=True), Column("horizon_s", Number, primary_key=True),
    Column("nominal", Number, primary_key=True), Column("alpha_t", Number, nullable=False), Column("n", Integer, nullable=False), Column("state", Json, nullable=False), Column("updated_at", Instant, nullable=False),
)  # fmt: skip
failure_time = Table(
    "failure_time", metadata,
    Column("id", BigId, primary_key=True), Column("series_id", BigId, nullable=False), Column("issued_at", Instant, nullable=False), Column("data_until", Instant, nullable=False),
    Column("window_from", Instant, nullable=False), Column("window_mid", Instant, nullable=False), Column("window_to", Instant, nullable=False), Column("n_filters", Integer), Column("n_agree", Integer),
    Column("r2", Number), Column("velocity_mm_per_day", Number), Column("trusted", Boolean, nullable=False), *_message("reasons"), Column("withdrawn_at", Instant),
    Column("method", String(32), nullable=False, server_default="inverse_velocity"),  # or forecast: its quantiles cross the failure velocity
    Column("onset_at", Instant), *_message("withdrawn_reason", null=True),
    Index("ix_failure_time_series", "series_id", "issued_at"),
)  # fmt: skip

model_fit = Table(
    "model_fit", metadata,  # parameters that a night found for a statistical model: one row per series and model, replaced
    Column("series_id", BigId, primary_key=True, autoincrement=False), Column("model", String(64), primary_key=True),
    Column("fitted_at", Instant),  # of the parameters in force; empty where there are none
    Column("tried_at", Instant, nullable=False), *_message("reason"),  # why the newest try found nothing better; empty where it did
    Column("settled", Boolean, nullable=False), _text("drivers"), Column("fit", Json, nullable=False), _text("code_version"),
)  # fmt: skip

season = Table(
    "season", metadata,  # trend, season and remainder of a series as the newest night found them: one row, replaced
    Column("series_id", BigId, primary_key=True, autoincrement=False), Column("computed_at", Instant, nullable=False),
    Column("grid", String(8), nullable=False), Column("period_rows", Integer, nullable=False), Column("rows", Integer, nullable=False),
    Column("first_at", Instant), Column("last_at", Instant), *_message("reason"),  # why there is no split; empty where there is one
    Column("trend_strength", Number), Column("season_strength", Number), Column("season_range", Number),
    Column("parameters", Json, nullable=False), _text("code_version"),
    Column("components", Json, nullable=False),  # [[at, value, trend, season, remainder]] of each observed row
    Column("method", String(8), nullable=False, server_default=""),  # empty without a split
    Column("day_strength", Number), Column("day_range", Number),
    Column("day_parts", Json, nullable=False, server_default="[]"),  # [[hour of the UTC day, season]], of MSTL
)  # fmt: skip

movement = Table(
    "movement", metadata,  # how a station moves, one row per update; append only
    Column("id", BigId, primary_key=True), Column("series_id", BigId, nullable=False), Column("at", Instant, nullable=False), Column("data_until", Instant),
    Column("stage", String(16), nullable=False), Column("trend", String(16), nullable=False),  # the words of forecasting.kinematics.stages
    Column("velocity_mm_per_day", Number), Column("velocity_error_mm_per_day", Number), Column("velocity_window_s", Number), Column("acceleration_mm_per_day2", Number), Column("acceleration_error_mm_per_day2", Number),
    Column("tangential_angle_deg", Number), Column("v_eq_mm_per_day", Number), Column("inverse_velocity_day_per_mm", Number), Column("probability", Number), *_message("reasons"),
    Column("state", Json, nullable=False),  # what the next update needs: counters of the hysteresis
    UniqueConstraint("series_id", "at", name="uq_movement"),
)  # fmt: skip

# ---- anomalies and scenes --------------------------------------------------------------------------------------
anomaly = Table(
    "anomaly", metadata,
    Column("series_id", BigId, primary_key=True, autoincrement=False), Column("at", Instant, primary_key=True), Column("detector", String(64), primary_key=True),
    Column("score", Number, nullable=False), Column("threshold", Number, nullable=False), Column("budget", Number, nullable=False), _text("kind"),
    Column("alerted", Boolean, nullable=False), Column("model_hash", String(64)), Column("scored_at", Instant, nullable=False), *finite("anomaly", "score", "threshold"),
    Column("factor", Number),  # by which the counted threshold was raised from what people said; null = 1
    *_message("compared_with", null=True),  # what the score was compared with, in words
)  # fmt: skip
reading_gap = Table(
    "reading_gap", metadata,  # readings of a series that are missing between two that are there; one that was filled late says when
    Column("series_id", BigId, primary_key=True, autoincrement=False), Column("to_at", Instant, primary_key=True), Column("from_at", Instant, primary_key=True),
    Column("missing", Integer, nullable=False), Column("found_at", Instant, nullable=False), Column("filled_at", Instant),
)  # fmt: skip
anomaly_budget = Table(
    "anomaly_budget", metadata,  # false alarms of a detector as measured, and the factor on its threshold from then on; append only, the newest counts
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("detector", String(64), nullable=False), Column("at", Instant, nullable=False), Column("from_at", Instant, nullable=False),
    Column("sensor_months", Number, nullable=False), Column("reported", Integer, nullable=False), Column("labelled", Integer, nullable=False), Column("dismissed", Integer, nullable=False),
    Column("known_cause", Integer, nullable=False), Column("rate", Number), Column("rate_low", Number), Column("rate_high", Number), Column("budget", Number, nullable=False),
    Column("factor_before", Number, nullable=False), Column("factor", Number, nullable=False), *_message("reason"), _text("by"), Column("by_kind", String(16), nullable=False),
    Column("evidence", Json, nullable=False),  # what the factor was counted from: it can be counted again
    Index("ix_anomaly_budget_site", "site", "detector", "id"),
)  # fmt: skip
model_proof = Table(
    "model_proof", metadata,  # whether a criterion that rests on a model may count for the level of its site; append only, the newest of a subject counts
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("kind", String(16), nullable=False), Column("subject", String(64), nullable=False),
    Column("tested_at", Instant, nullable=False), _text("made_by"), _text("by"), Column("by_kind", String(16), nullable=False), Column("rows_from", Instant), Column("rows_until", Instant),
    Column("rows_tested", Integer, nullable=False), Column("weights", String(64), nullable=False), Column("settings", String(64), nullable=False), Column("config_sha256", String(64), nullable=False),
    Column("passed", Boolean, nullable=False), *_message("reasons"), Column("result", Json, nullable=False), Column("valid_until", Instant, nullable=False),
    Index("ix_model_proof_subject", "site", "kind", "subject", "tested_at"),
)  # fmt: skip
anomaly_label = Table(
    "anomaly_label", metadata,  # what a person said of the anomalies of a series in a time; append only, the newest counts
    Column("id", BigId, primary_key=True), Column("series_id", BigId, nullable=False), Column("from_at", Instant, nullable=False), Column("to_at", Instant, nullable=False),
    Column("verdict", String(16), nullable=False), Column("cause", String(32), nullable=False), _text("by"), _text("note"), Column("at", Instant, nullable=False),
    Index("ix_anomaly_label_series", "series_id", "from_at"),
)  # fmt: skip
scene = Table(
    "scene", metadata,
    Column("scene_hash", String(64), primary_key=True), Column("site", String(64), nullable=False), Column("name", String(256), nullable=False), Column("acquired_at", Instant),
    _text("role"), _text("path"), Column("received_at", Instant, nullable=False), _text("state"),  # waiting, done, failed, superseded
    *_message("error", null=True), Column("valid_share", Number), _text("crs", null=True), Column("pixel_area_m2", Number), _text("out_dir", null=True), Column("run", Json),
    Index("ix_scene_site", "site", "acquired_at"),
)  # fmt: skip
scene_footprint = Table(
    "scene_footprint", metadata,
    Column("scene_hash", String(64), primary_key=True), Column("model_hash", String(64), primary_key=True), Column("polygon_id", String(64), primary_key=True),
    _text("model"), _text("class", server_default="landslide"), _text("parent_id", null=True), Column("change", String(16), nullable=False), Column("area_m2", Number, nullable=False), Column("grown_m2", Number),
    Column("mean_probability", Number, nullable=False), Column("geometry", Json, nullable=False), Column("min_lon", Number, nullable=False), Column("min_lat", Number, nullable=False),
    Column("max_lon", Number, nullable=False), Column("max_lat", Number, nullable=False), _text("nearest_station", null=True), Column("distance_m", Number), Column("detected_at", Instant, nullable=False),
    # what is known today of its change: the newest row of scene_change
    Column("since_at", Instant), Column("first_seen_at", Instant), Column("root_id", String(64)), Column("anchor_scene", String(64)), *_message("caution", null=True),
    Column("near_stations", Json),  # [[station, metres], ...] within reach, nearest first
    Column("susceptibility", Number), Column("susceptibility_map", String(64)),  # mean of a map, and its sha256
)  # fmt: skip
scene_change = Table(
    "scene_change", metadata,  # every judgement on a footprint, so that what was known at an instant can be told; append only
    Column("scene_hash", String(64), primary_key=True), Column("model_hash", String(64), primary_key=True), Column("polygon_id", String(64), primary_key=True),
    Column("judged_at", Instant, primary_key=True), Column("change", String(16), nullable=False), _text("parent_id", null=True), Column("grown_m2", Number),
    Column("since_at", Instant), Column("first_seen_at", Instant), *_message("caution", null=True),
)  # fmt: skip
footprint_review = Table(
    "footprint_review", metadata,  # what a person said of a footprint; append only, the newest counts
    Column("id", BigId, primary_key=True), Column("scene_hash", String(64), nullable=False), Column("model_hash", String(64), nullable=False), Column("polygon_id", String(64), nullable=False),
    Column("at", Instant, nullable=False), Column("verdict", String(16), nullable=False), _text("by"), _text("note", null=True),  # accept, reject, redraw
    Column("geometry", Json), Index("ix_footprint_review", "scene_hash", "model_hash", "polygon_id"),
)  # fmt: skip

scene_outline = Table(
    "scene_outline", metadata,  # what people outlined on scenes; never overwritten, a correction is a row of its own
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("scene_hash", String(64), nullable=False),
    Column("kind", String(16), nullable=False), Column("geometry", Json, nullable=False), Column("area_m2", Number, nullable=False),  # landslide, not_landslide, nothing
    Column("from_model_hash", String(64)), Column("from_polygon_id", String(64)),  # the footprint that it corrects
    _text("note"), Column("at", Instant, nullable=False), _text("by"), *_withdrawn(),
    Column("min_lon", Number), Column("min_lat", Number), Column("max_lon", Number), Column("max_lat", Number),  # the box around it
    Index("ix_scene_outline", "site", "scene_hash", "min_lat", "max_lat", "min_lon", "max_lon", "at", "withdrawn_at"),
)  # fmt: skip
scene_unsure = Table(
    "scene_unsure", metadata,  # tiles of a scene that a model is least sure of; each cause (detection, learning) makes its own anew
    Column("scene_hash", String(64), primary_key=True), Column("tile", Integer, primary_key=True), Column("site", String(64), nullable=False),
    Column("model_hash", String(64), nullable=False), Column("min_lon", Number, nullable=False), Column("min_lat", Number, nullable=False),
    Column("max_lon", Number, nullable=False), Column("max_lat", Number, nullable=False), Column("doubt", Number, nullable=False), Column("made_at", Instant, nullable=False),
    Column("cause", String(16), nullable=False, server_default="detection"),
    Index("ix_scene_unsure", "site", "doubt"),
)  # fmt: skip

# ---- alerts ----------------------------------------------------------------------------------------------------
decision = Table(
    "decision", metadata,  # frozen inputs of a level change: recomputable bit for bit
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("at", Instant, nullable=False), Column("code_version", String(64), nullable=False),
    Column("config_sha256", String(64), nullable=False), _text("evidence"), Column("evidence_sha256", String(64), nullable=False),
)  # fmt: skip
alert = Table(
    "alert", metadata,
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("ledger", String(16), nullable=False), Column("key", String(256), nullable=False),
    Column("level", Integer, nullable=False), Column("peak_level", Integer, nullable=False), Column("state", String(32), nullable=False), Column("exercise", Boolean, nullable=False),
    Column("raised_at", Instant, nullable=False), Column("data_time", Instant), *_message("reason"), Column("decision_id", BigId, ForeignKey("decision.id")),
    _text("rule_version"), Column("acknowledged_at", Instant), _text("acknowledged_by", null=True), Column("closed_at", Instant),
    Index("ix_alert_open", "site", "ledger", "key"), Index("ix_alert_raised", "site", "raised_at"),
    # one open alert per key, enforced by the database
    Index("uq_alert_open", "site", "ledger", "key", unique=True, sqlite_where=Column("closed_at").is_(None), postgresql_where=Column("closed_at").is_(None)),
)  # fmt: skip
alert_event = Table(
    "alert_event", metadata,
    Column("id", BigId, primary_key=True), Column("alert_id", BigId, ForeignKey("alert.id"), nullable=False), Column("sequence", Integer, nullable=False), Column("at", Instant, nullable=False),
    Column("data_time", Instant), _text("from_state", null=True), _text("to_state"), Column("from_level", Integer), Column("to_level", Integer, nullable=False), _text("actor"), _text("actor_kind"), *_message("reason"),
    Column("decision_id", BigId), _text("via", null=True), Column("until_at", Instant), UniqueConstraint("alert_id", "sequence", name="uq_alert_event"),
)  # fmt: skip
alert_outcome = Table(
    "alert_outcome", metadata,
    Column("id", BigId, primary_key=True), Column("alert_id", BigId, ForeignKey("alert.id"), nullable=False), Column("class", String(32), nullable=False), _text("by"), _text("note"), Column("at", Instant, nullable=False),
)  # fmt: skip
photo = Table(
    "photo", metadata,  # of an alert or of a report; the pictures are written anew, without what the camera put beside them
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False),
    Column("alert_id", BigId, ForeignKey("alert.id")), Column("report_id", BigId),
    Column("added_at", Instant, nullable=False), _text("by"), _text("via", null=True), _text("note"),
    Column("sha256", String(64), nullable=False), Column("width", Integer, nullable=False), Column("height", Integer, nullable=False),
    _text("taken"), Column("latitude", Number), Column("longitude", Number), _text("camera"),  # as the camera said
    Column("picture", LargeBinary, nullable=False), Column("small", LargeBinary, nullable=False),
    Index("ix_photo_site", "site", "added_at"), Index("ix_photo_alert", "alert_id"),
)  # fmt: skip
notification = Table(
    "notification", metadata,  # the outbox
    Column("id", BigId, primary_key=True), Column("alert_id", BigId, ForeignKey("alert.id"), nullable=False), Column("event_id", BigId, ForeignKey("alert_event.id"), nullable=False),
    Column("site", String(64), nullable=False), Column("ledger", String(16), nullable=False), Column("level", Integer, nullable=False), _text("level_name"), _text("recipient"), _text("channel"),
    Column("exercise", Boolean, nullable=False), *_message("subject"), *_message("body"), Column("state", String(16), nullable=False), Column("attempts", Integer, nullable=False, server_default="0"),
    Column("queued_at", Instant, nullable=False), Column("sent_at", Instant), Column("confirmed_at", Instant), Column("next_attempt_at", Instant), Column("superseded_by", BigId), *_message("last_error", null=True),
    _text("lease_owner", null=True), Column("lease_until", Instant), _text("confirmed_by", null=True), _text("confirmed_via", null=True), Column("idempotency_key", String(64), nullable=False, unique=True),
    _text("provider_id", null=True), _text("provider_said", null=True), Column("received_at", Instant),  # what the other side calls it, said last, and when the device had it
    Column("undelivered", Integer, nullable=False, server_default="0"),  # so often it could not deliver what it had taken
    Index("ix_notification_due", "state", "next_attempt_at"), Index("ix_notification_alert", "alert_id"), Index("ix_notification_provider", "provider_id"),
)  # fmt: skip
reply_code = Table(
    "reply_code", metadata,  # by which the recipient of one message acknowledges its alert in a reply; of that number alone
    Column("notification_id", BigId, primary_key=True, autoincrement=False), Column("alert_id", BigId, nullable=False), _text("address"), _text("person"), _text("language"), _text("code"),
    Column("level", Integer, nullable=False), Column("made_at", Instant, nullable=False), Column("expires_at", Instant, nullable=False), Column("used_at", Instant),
    Index("ix_reply_code_address", "address", "code"),
)  # fmt: skip
reply = Table(
    "reply", metadata,  # what came back from a telephone, and what became of it
    Column("id", BigId, primary_key=True), Column("at", Instant, nullable=False), Column("way", String(16), nullable=False), _text("sender"), _text("text"),
    _text("provider_id", unique=True), Column("outcome", String(16), nullable=False), Column("alert_id", BigId), _text("person", null=True),
    Index("ix_reply_sender", "sender", "at"),
)  # fmt: skip
push_subscription = Table(
    "push_subscription", metadata,  # a browser that takes messages for a person; in no view and no published copy
    Column("id", BigId, primary_key=True), Column("user_name", String(64), nullable=False), Column("endpoint_sha256", String(64), nullable=False, unique=True),
    _text("endpoint"), _text("p256dh"), _text("auth"), _text("device"),
    Column("added_at", Instant, nullable=False), Column("sent_at", Instant), Column("ended_at", Instant), *_message("ended_why", null=True),
    Index("ix_push_subscription_user", "user_name"),
)  # fmt: skip
siren_order = Table(
    "siren_order", metadata,  # what a siren or a sign was told to do, and what it answered
    Column("id", BigId, primary_key=True), _text("topic"), Column("sequence", BigId, nullable=False), Column("notification_id", BigId), Column("site", String(64), nullable=False),
    Column("wanted", String(8), nullable=False), Column("level", Integer, nullable=False), _text("level_name"), Column("exercise", Boolean, nullable=False),  # wanted: on, off, test
    Column("ordered_at", Instant, nullable=False), Column("sent_at", Instant, nullable=False), Column("valid_until", Instant, nullable=False), Column("times", Integer, nullable=False),
    Column("confirmed_at", Instant), _text("confirmed_by", null=True), _text("said", null=True),
    UniqueConstraint("topic", "sequence", name="uq_siren_order"),
)  # fmt: skip
channel_test = Table(
    "channel_test", metadata,  # whether a channel works: an exercise message to the target of its test
    Column("id", BigId, primary_key=True), _text("channel"), _text("target"), Column("at", Instant, nullable=False), Column("good", Boolean, nullable=False), _text("found"),
    _text("provider_id", null=True), Column("received_at", Instant),
    Index("ix_channel_test_channel", "channel", "at"),
)  # fmt: skip

# ---- who is on duty ----------------------------------------------------------------------------------------------
duty_rota = Table(
    "duty_rota", metadata,  # append only: the plan of a team from an instant on, until a later one begins
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("team", String(64), nullable=False),
    Column("valid_from", Instant, nullable=False), Column("begins", String(10), nullable=False),  # the Monday of its first week
    _text("zone"), _text("plan"), _text("by"), _text("reason"), Column("added_at", Instant, nullable=False),
    Index("ix_duty_rota_team", "site", "team"),
)  # fmt: skip
duty_override = Table(
    "duty_override", metadata,  # for a time somebody takes the place of somebody else
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("team", String(64), nullable=False),
    Column("from_at", Instant, nullable=False), Column("to_at", Instant, nullable=False), _text("person_out", null=True), _text("person_in", null=True),
    _text("by"), _text("reason"), Column("added_at", Instant, nullable=False), *_withdrawn(),
    Index("ix_duty_override_team", "site", "team", "to_at"),
)  # fmt: skip
duty_turn = Table(
    "duty_turn", metadata,  # who is on duty, day by day: the past stays, what is to come is laid out anew
    Column("site", String(64), primary_key=True), Column("team", String(64), primary_key=True), Column("from_at", Instant, primary_key=True),
    Column("to_at", Instant, nullable=False), Column("day", String(10), nullable=False),  # of the site's clock
    _text("person", null=True), _text("second_person", null=True),  # empty = nobody: the whole team is notified
)  # fmt: skip
duty_handover = Table(
    "duty_handover", metadata,  # who gave the watch to whom, with what was open then
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("team", String(64), nullable=False),
    Column("since_at", Instant), Column("at", Instant, nullable=False), _text("outgoing"), _text("notes"), Column("open_items", Json, nullable=False),
    Column("signed_at", Instant), _text("incoming", null=True), _text("remark", null=True), *_withdrawn(),
    Index("ix_duty_handover_team", "site", "team", "at"),
)  # fmt: skip

digest = Table(
    "digest", metadata,  # the daily digest of a site to one recipient: one row a local day
    Column("site", String(64), primary_key=True), Column("recipient", String(256), primary_key=True), Column("day", String(10), primary_key=True),
    _text("channel"), Column("at", Instant, nullable=False), Column("state", String(8), nullable=False), Column("attempts", Integer, nullable=False), *_message("error", null=True),
)  # fmt: skip

# ---- change control and exercises ----------------------------------------------------------------------------------
maintenance = Table(
    "maintenance", metadata,  # work on a station: its votes are pended up to a level, for a time
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("station", String(64), nullable=False), Column("from_at", Instant, nullable=False), Column("to_at", Instant, nullable=False),
    _text("by"), _text("second_by", null=True), _text("reason"), Column("added_at", Instant, nullable=False), Column("ended_at", Instant), _text("ended_by", null=True),
    Index("ix_maintenance_site", "site", "to_at"),
)  # fmt: skip
site_proposal = Table(
    "site_proposal", metadata,  # a site file that waits for somebody to approve it
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("sha256", String(64), nullable=False), Column("base_sha256", String(64)), _text("source"),
    _text("author"), _text("reason"), Column("proposed_at", Instant, nullable=False), Column("state", String(16), nullable=False),  # proposed, approved, rejected, superseded
    Column("effect", Json), Column("differences", Json), Column("loosens_high", Boolean, nullable=False),
    _text("approved_by", null=True), _text("second_by", null=True), Column("decided_at", Instant), *_message("decision_reason", null=True),
    Index("ix_site_proposal_site", "site", "state"),
)  # fmt: skip
drill = Table(
    "drill", metadata,  # an exercise: a recorded or simulated failure up to the channels, apart from the real state
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("started_at", Instant, nullable=False), Column("ended_at", Instant),
    _text("by"), _text("scenario"), _text("state"), Column("outcome", Json),
)  # fmt: skip

# ---- people, audit, service ------------------------------------------------------------------------------------
user_account = Table(
    "user_account", metadata,
    Column("name", String(64), primary_key=True), _text("password_hash"), Column("role", String(16), nullable=False),  # viewer, operator, admin
    Column("created_at", Instant, nullable=False), Column("disabled_at", Instant),
    Column("sites", Json),  # the only ones it may act on, and read where reading takes a login; empty = all
    Column("os_user", String(64)),  # this user of the operating system is that person, at a command
    _text("oidc_issuer", null=True), _text("oidc_subject", null=True),  # this person of that provider comes in as this account
    Index("ix_user_account_os_user", "os_user", unique=True), Index("ix_user_account_oidc", "oidc_issuer", "oidc_subject", unique=True),
)  # fmt: skip
first_signature = Table(
    "first_signature", metadata,  # the word of one person for an act that takes two; the act is done with the second one
    Column("id", BigId, primary_key=True), Column("act", String(64), nullable=False), _text("subject"), _text("terms"),
    Column("height", Integer, nullable=False), _text("by"), _text("reason"), Column("signed_at", Instant, nullable=False),
    Column("used_at", Instant), _text("used_by", null=True), *_withdrawn(),
    Index("ix_first_signature_act", "act", "subject"),
)  # fmt: skip
second_factor = Table(
    "second_factor", metadata,  # in no view and no published copy
    Column("user_name", String(64), primary_key=True), _text("secret"),  # sealed by monitor.web.access.vault
    Column("created_at", Instant, nullable=False), Column("last_step", Integer, nullable=False),  # no code counts twice
    Column("pending_since", Instant),  # made on the page, and no code of it was seen yet: it asks for nothing
)  # fmt: skip
recovery_code = Table(
    "recovery_code", metadata,  # each lets in once when the telephone is lost; hashes of 80 random bits
    Column("code_sha256", String(64), primary_key=True), Column("user_name", String(64), nullable=False),
    Column("created_at", Instant, nullable=False), Column("used_at", Instant),
    Index("ix_recovery_code_user", "user_name"),
)  # fmt: skip
api_token = Table(
    "api_token", metadata,  # by which a program reads and acts in the name of an account
    Column("id", BigId, primary_key=True), Column("user_name", String(64), nullable=False), Column("label", String(64), nullable=False),
    Column("scope", String(16), nullable=False), Column("sites", Json),  # read, act, admin; empty = all sites of the account
    Column("token_sha256", String(64), nullable=False, unique=True),
    Column("created_at", Instant, nullable=False), Column("expires_at", Instant, nullable=False), Column("revoked_at", Instant),
)  # fmt: skip
web_session = Table(
    "web_session", metadata,
    Column("token_sha256", String(64), primary_key=True), Column("user_name", String(64), nullable=False), Column("created_at", Instant, nullable=False), Column("expires_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
)  # fmt: skip
password_guess = Table(
    "password_guess", metadata,  # wrong passwords at the command line since the last right one: the next answer waits
    Column("user_name", String(64), primary_key=True), Column("os_user", String(128), primary_key=True),
    Column("failures", Integer, nullable=False), Column("next_at", Instant, nullable=False),
)  # fmt: skip
known_device = Table(
    "known_device", metadata,  # where an account logged in before: guesses from elsewhere do not slow it down there
    Column("token_sha256", String(64), primary_key=True), Column("user_name", String(64), primary_key=True), Column("used_at", Instant, nullable=False),
)  # fmt: skip
audit_entry = Table(
    "audit_entry", metadata,
    Column("id", BigId, primary_key=True), Column("at", Instant, nullable=False), _text("actor"), _text("actor_kind"), _text("action"), _text("subject"), _text("detail"),
    Column("previous_hash", String(64), nullable=False), Column("hash", String(64), nullable=False, unique=True),
    Index("ix_audit_entry_action", "action", "subject"),
)  # fmt: skip
service_state = Table(
    "service_state", metadata,  # what other processes need to know of this one: progress stamps, session, broker
    Column("name", String(128), primary_key=True), Column("at", Instant, nullable=False), Column("detail", Json, nullable=False),
)  # fmt: skip
# one row per source of files, watched folders too; and one per file of it that was taken
source_poll = Table(
    "source_poll", metadata,
    Column("source", String(80), primary_key=True), Column("site", String(64), nullable=False), _text("kind"),
    Column("polled_at", Instant, nullable=False), Column("success_at", Instant), Column("since_at", Instant, nullable=False),
    *_message("error", null=True), Column("error_since", Instant), Column("failures", Integer, nullable=False),
    Column("next_at", Instant, nullable=False), Column("rows_new", Integer, nullable=False), Column("rows_all", BigId, nullable=False),
    Column("address", Text), Column("new_at", Instant),
)  # fmt: skip
source_file = Table(
    "source_file", metadata,
    Column("source", String(80), primary_key=True), Column("name", String(500), primary_key=True),
    Column("etag", String(300), nullable=False), Column("modified", String(300), nullable=False),
    Column("size", BigId, nullable=False), Column("sha256", String(64), nullable=False), Column("taken_at", Instant, nullable=False),
    *_message("reason", null=True),  # why this version was not taken; empty = it is stored
)  # fmt: skip
job_run = Table(
    "job_run", metadata,
    Column("id", BigId, primary_key=True), Column("job", String(64), nullable=False), Column("site", String(64)), Column("started_at", Instant, nullable=False), Column("finished_at", Instant),
    Column("state", String(16), nullable=False),  # running, done, failed, killed, missed
    _text("detail", null=True), Index("ix_job_run_started", "job", "started_at"),
)  # fmt: skip

# ---- the service itself ----------------------------------------------------------------------------------------
observation_summary = Table(
    "observation_summary", metadata,  # what retention left of readings it let go: one row for each hour or day
    Column("series_id", BigId, primary_key=True, autoincrement=False), Column("starts_at", Instant, primary_key=True),
    Column("span_s", Integer, primary_key=True, autoincrement=False), Column("made_at", Instant, primary_key=True),  # readings that came later are a row more
    Column("median", Number), Column("minimum", Number), Column("maximum", Number), Column("mean", Number),  # of readings without a flag; raw
    Column("count", Integer, nullable=False), Column("flagged", Integer, nullable=False),
)  # fmt: skip
retention_run = Table(
    "retention_run", metadata,  # append only: what a run of retention did to one table or quantity
    Column("id", BigId, primary_key=True), Column("at", Instant, nullable=False), _text("what"), Column("before_at", Instant),
    Column("removed", BigId, nullable=False), Column("summaries", BigId, nullable=False),
    Column("seconds", Number, nullable=False), Column("longest_ms", Number, nullable=False),  # of its transactions
)  # fmt: skip
issued_report = Table(
    "issued_report", metadata,  # bulletins and shift reports, each with what it said; the rows are sealed
    Column("id", BigId, primary_key=True), Column("site", String(64), nullable=False), Column("kind", String(16), nullable=False), Column("from_at", Instant, nullable=False), Column("to_at", Instant, nullable=False),
    Column("made_at", Instant, nullable=False), Column("language", String(8), nullable=False), Column("facts_sha256", String(64), nullable=False), _text("code_version"),
    _text("facts"),  # all that it says, canonical JSON: what the digest is of
    UniqueConstraint("site", "kind", "language", "to_at", name="uq_issued_report"),
)  # fmt: skip
report_mail = Table(
    "report_mail", metadata,
    Column("id", BigId, primary_key=True), Column("report_id", BigId, ForeignKey("issued_report.id"), nullable=False), _text("channel"), Column("form", String(8), nullable=False), Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False), Column("queued_at", Instant, nullable=False), Column("sent_at", Instant), Column("next_attempt_at", Instant), _text("last_error", null=True),
    Column("idempotency_key", String(64), nullable=False, unique=True), Index("ix_report_mail_due", "state", "next_attempt_at"),
)  # fmt: skip
backup_run = Table(
    "backup_run", metadata,  # append only: a copy that was made, or why there is none
    Column("id", BigId, primary_key=True), Column("at", Instant, nullable=False), _text("file"), _text("state"),  # proven, made, failed
    Column("seconds", Number, nullable=False), Column("bytes", BigId), Column("rows", BigId),  # of all tables, counted in the restored copy
    _text("audit_head", null=True), _text("detail"),
)  # fmt: skip
service_check = Table(
    "service_check", metadata,  # how what the service stands on does: one row a subject, replaced
    Column("name", String(64), primary_key=True), Column("state", String(8), nullable=False), Column("since", Instant, nullable=False),
    Column("checked_at", Instant, nullable=False), Column("value", Number), Column("unit", String(16)), *_message("found"), *_message("remedy"),
)  # fmt: skip
outage = Table(
    "outage", metadata,  # a time in which readings did not come in, until what had waited was read
    Column("id", BigId, primary_key=True), _text("cause"), Column("from_at", Instant, nullable=False), Column("back_at", Instant, nullable=False),
    Column("drained_at", Instant, nullable=False), Column("counted_at", Instant), Column("counts_until", Instant, nullable=False),
)  # fmt: skip
outage_station = Table(
    "outage_station", metadata,  # what became of the readings of an outage; counted again while late ones may come
    Column("outage_id", BigId, ForeignKey("outage.id"), primary_key=True), Column("site", String(64), primary_key=True),
    Column("station", String(64), primary_key=True), Column("expected", Integer),  # epochs, by the cadence of the station; empty = it has none
    Column("received", Integer, nullable=False), Column("late", Integer, nullable=False), Column("missing", Integer),
    Column("last_late_at", Instant),
)  # fmt: skip
