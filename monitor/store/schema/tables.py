"""Every table of the service. Decisions, forecasts and audit only ever add rows; SQL for people is in views.py.

Names: tables are singular, the public views plural or composite (see docs/reference/sql.md).
"""

import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Dialect,
    Double,
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
from sqlalchemy.types import TypeDecorator, TypeEngine

from forecasting.message import Message, values_to_json
from monitor.domain.canonical import canonical_json
from monitor.domain.instants import parse, spell

BigId = BigInteger().with_variant(Integer, "sqlite")
INSTANT_WIDTH = 27


class Instant(TypeDecorator[datetime]):
    """An aware instant as `YYYY-MM-DDTHH:MM:SS.ffffffZ`, which sorts as text; naive times are refused.

    PostgreSQL compares it in the byte order of collation "C", so that both databases sort alike.
    """

    impl = String(INSTANT_WIDTH)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the byte-ordered collation where the database has one."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(INSTANT_WIDTH, collation="C"))
        return dialect.type_descriptor(String(INSTANT_WIDTH))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Spell the instant; None stays NULL."""
        return None if value is None else spell(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Read the instant back as aware UTC."""
        return None if value is None else parse(value)


class Json(TypeDecorator[Any]):
    """Canonical JSON text: sorted keys, no blanks, no NaN; hashes of it are stable."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Spell canonically; None stays NULL."""
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Read back."""
        return None if value is None else json.loads(value)


def finite(table: str, *columns: str) -> list[CheckConstraint]:
    """CHECKs that refuse NaN and infinity: SQLite would make NaN NULL, PostgreSQL would break JSON."""
    return [CheckConstraint(f"{c} > -1e300 AND {c} < 1e300", name=f"ck_{table}_{c}_finite") for c in columns]


Number = Double


metadata = MetaData()


Name: Final = String(64)


def _id() -> Column[Any]:
    return Column("id", BigId, primary_key=True)


def _ref(table: str, *, key: bool = False) -> Column[Any]:
    """The number of a row of another table."""
    return Column(f"{table}_id", BigId, ForeignKey(f"{table}.id"), nullable=False, primary_key=key, autoincrement=False)


def _key(kind: Any, *names: str) -> list[Column[Any]]:
    return [Column(name, kind, primary_key=True, autoincrement=False) for name in names]


def _must(kind: Any, *names: str) -> list[Column[Any]]:
    """Columns that every row fills."""
    return [Column(name, kind, nullable=False) for name in names]


def _may(kind: Any, *names: str) -> list[Column[Any]]:
    """Columns that a row may leave empty."""
    return [Column(name, kind) for name in names]


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
        Column(name, Text, nullable=null), Column(f"{name}_id", Text, default=find_id),
        Column(f"{name}_values", Json, default=find_values),
    )  # fmt: skip


def _withdrawn() -> list[Column[Any]]:
    """When somebody took back what the row says, and who; empty = it stands."""
    return [*_may(Instant, "withdrawn_at"), *_may(Text, "withdrawn_by")]


# ---- sites -----------------------------------------------------------------------------------------------------
config_version = Table(
    "config_version", metadata,
    _id(),
    *_must(Text, "site", "sha256", "source"),  # the file itself: a decision is recomputed from it
    *_must(Instant, "loaded_at"), *_must(Text, "author"), *_message("reason"), *_must(Text, "code_version"),
    UniqueConstraint("site", "sha256", "loaded_at", name="uq_config_version"),
)  # fmt: skip

site = Table(
    "site", metadata,
    *_key(Name, "id"), *_must(Text, "name"), *_must(Number, "latitude", "longitude"),
    *_must(Text, "timezone"), *_must(Json, "levels"),  # [{"number","name","action","auto_lower"}]
    *_must(Text, "config_sha256"), *_must(Boolean, "active"),
)  # fmt: skip

station = Table(
    "station", metadata,
    *_key(Name, "site", "id"), *_may(Number, "latitude", "longitude", "height_m", "azimuth_deg", "plunge_deg"),
    *_may(Text, "reference", "logger", "antenna"), *_must(Boolean, "on_slope", "declared"), *_may(Text, "gateway", "power"),
)  # fmt: skip

site_state = Table(
    "site_state", metadata,
    *_key(Name, "site"), *_must(Integer, "level"), *_must(Text, "level_source"), *_must(Instant, "since", "evaluated_at"),
    *_must(Text, "observability"), *_must(Integer, "reachable_level", "witnesses_available"), *_must(Text, "health"),
    *_may(Text, "movement_stage", "trend"), *_may(Instant, "newest_at"), *_must(Text, "config_sha256"),
    *_must(Json, "state"),  # ladder memory: dwell, votes, pending steps, holds
    *_may(Boolean, "catching_up"),  # readings that waited were being read: levels may rise, silence was not judged
)  # fmt: skip

station_state = Table(
    "station_state", metadata,
    *_key(Name, "site", "station"), *_must(Text, "state"), *_must(Instant, "since"), *_message("reason"), *_may(Instant, "newest_at"),
    *_may(Number, "expected_interval_s", "missing_share_24h"), *_must(Boolean, "votes"),
)  # fmt: skip

# what each criterion on forecasts said last; a row goes with its forecast
forecast_chance = Table(
    "forecast_chance", metadata,
    *_key(Name, "site", "criterion", "station"), Column("level", Integer, primary_key=True), *_must(Instant, "evaluated_at", "data_until"),
    *_must(Number, "window_s", "over_mm_per_day", "chance_from", "chance_to", "probability"), *_must(Boolean, "crossed"),
    *_must(Text, "model", "config_sha256"),
)  # fmt: skip

# what each vote on a rate measured last, against the bounds in force
rate_now = Table(
    "rate_now", metadata,
    *_key(Name, "site", "criterion", "station"), *_must(Text, "quantity", "unit"), *_must(Integer, "level"), *_must(Boolean, "counted"),
    *_must(Instant, "newest_at"), *_must(Number, "rate", "error", "least", "window_s", "bound"), *_must(Integer, "bound_level"),
    *_may(Integer, "next_level"), *_may(Number, "next_bound", "next_rate", "next_window_s"),
)  # fmt: skip

# how each instrument does beside what decisions look at: found by a job, read by people, and by no decision
instrument_finding = Table(
    "instrument_finding", metadata,
    *_key(Name, "site", "station"), Column("state", String(16), primary_key=True), *_must(Integer, "rank"), *_must(Instant, "since"),
    *_message("reason"), *_message("action"),
)  # fmt: skip
instrument = Table(
    "instrument", metadata,
    *_key(Name, "site", "station"), *_must(Instant, "judged_at"), *_may(Number, "battery_v"), *_may(Instant, "battery_at", "battery_empty_at"),
    *_message("battery_method"), *_may(String(10), "calibrated_on", "calibration_due_on"),
    *_may(Name, "spark_of"), *_may(Json, "spark"),  # values of equal spans, None = nothing came
)  # fmt: skip
instrument_month = Table(
    "instrument_month", metadata,
    *_key(Name, "site", "station"), Column("month", String(7), primary_key=True), *_must(Integer, "expected", "received"),
)  # fmt: skip

evaluation = Table(
    "evaluation", metadata,
    _id(), *_must(Name, "site"), *_must(Instant, "at"),
    *_must(Text, "trigger"),  # data, tick, person, start
    *_must(Integer, "level"), *_must(Text, "observability"), *_must(Integer, "reachable_level"),
    *_may(Instant, "known_until"),  # newest received_at that was seen
    *_must(Text, "config_sha256", "digest"),  # of state after
    Index("ix_evaluation_site_at", "site", "at"),
)  # fmt: skip

# ---- observations ----------------------------------------------------------------------------------------------
series = Table(
    "series", metadata,
    _id(), *_must(Name, "site", "station", "quantity"), *_must(String(32), "unit"), *_must(Instant, "created_at"),
    UniqueConstraint("site", "station", "quantity", name="uq_series"),
)  # fmt: skip

observation = Table(
    "observation", metadata,
    *_key(BigId, "series_id"), *_key(Instant, "observed_at"), *_key(Integer, "revision"), *_must(Instant, "received_at"), *_must(Number, "value_raw"),
    *_may(Number, "sigma"),
    *_may(String(16), "solution"), Column("flags", Text, nullable=False, server_default=""),  # comma list set at arrival, never changed
    *_may(Text, "extra"),  # canonical JSON of the epoch: covariance, fix, satellites
    *finite("observation", "value_raw"), CheckConstraint("sigma IS NULL OR (sigma >= 0 AND sigma < 1e300)", name="ck_observation_sigma"),
    Index("ix_observation_flagged", "series_id", sqlite_where=text("flags <> ''"), postgresql_where=text("flags <> ''")), sqlite_with_rowid=False,
)  # fmt: skip

observation_flag = Table(
    "observation_flag", metadata,  # later flags, append-only: `flag` or `-flag` withdraws
    _id(), *_must(BigId, "series_id"), *_must(Instant, "observed_at"), *_must(Integer, "revision"), *_must(Text, "flag"),
    *_must(Instant, "known_from"), *_must(Text, "by"), *_message("reason"), Index("ix_observation_flag_key", "series_id", "observed_at", "revision"),
)  # fmt: skip

series_latest = Table(
    "series_latest", metadata,  # newest not future-dated epoch of each series, so that no view walks the history
    *_key(BigId, "series_id"), *_must(Instant, "observed_at"), *_must(Integer, "revision"), *_must(Instant, "received_at"),
    *_must(Number, "value_raw"), *_may(Number, "sigma"), *_may(String(16), "solution"), *_must(Text, "flags"),
)  # fmt: skip

offset_entry = Table(
    "offset_entry", metadata,
    _id(), *_must(BigId, "series_id"), *_must(Instant, "at", "known_from"), *_must(Number, "size"), *_must(String(32), "unit"),
    *_must(Text, "kind", "author", "reason"), *_may(Instant, "confirmed_at"), *_may(Text, "confirmed_by"), *_may(Instant, "revoked_at"),
    *_may(Text, "revoked_by"), *finite("offset_entry", "size"), Index("ix_offset_entry_series", "series_id", "at"),
)  # fmt: skip

point_set = Table(
    "point_set", metadata,  # InSAR: thousands of points that share dates; apart from instruments
    _id(), *_must(Name, "site"), *_must(String(128), "name"), *_must(Text, "direction"), *_must(String(32), "unit"), *_may(Json, "meta"),
    UniqueConstraint("site", "name", name="uq_point_set"),
)  # fmt: skip
point = Table(
    "point", metadata,
    _id(), _ref("point_set"), *_must(Name, "pid"), *_must(Number, "latitude", "longitude"), *_may(Number, "height_m"), *_may(Json, "static"),
    UniqueConstraint("point_set_id", "pid", name="uq_point"), Index("ix_point_place", "point_set_id", "latitude", "longitude"),
)  # fmt: skip
point_observation = Table(
    "point_observation", metadata,
    *_key(BigId, "point_id"), *_key(Instant, "observed_at"), *_key(Integer, "revision"), *_must(Instant, "received_at"), *_must(Number, "value_raw"),
    *_may(Number, "sigma"), *finite("point_observation", "value_raw"), sqlite_with_rowid=False,
)  # fmt: skip
point_delivery = Table(
    "point_delivery", metadata,  # a file of points that came in: when it was through, and what was new in it
    _id(), *_must(Name, "site"), _ref("point_set"), *_must(Text, "file"), *_must(Instant, "received_at", "newest_at"),
    *_must(Integer, "stored", "revisions"),
)  # fmt: skip
point_look = Table(
    "point_look", metadata,  # a look of the detectors at the newest acquisitions of a set; append only
    _id(), *_must(Name, "site"), _ref("point_set"),
    *_must(BigId, "delivery_id"), *_must(Instant, "known_at"),  # values that came in later were not looked at
    *_must(Instant, "looked_at"), *_must(BigId, "last_point_id", "after_point_id"),  # points up to this one were looked at before
    *_may(Instant, "from_at", "newest_at"),  # acquisitions in (from_at, newest_at] were new
    *_must(Integer, "acquisitions", "points", "withheld", "alarms", "happenings", "going_on", "left_out"), *_must(Number, "budget"),
    *_may(Number, "jump_mm"), *_must(Json, "thresholds"), *_must(Name, "digest"),
    *_message("reason"),  # why nothing was looked at; empty = it was
    UniqueConstraint("point_set_id", "delivery_id", name="uq_point_look"), Index("ix_point_look_site", "site", "id"),
)  # fmt: skip
point_happening = Table(
    "point_happening", metadata,  # one cause: points that alarm together, or what most points of the set did the same way
    _id(), _ref("point_look"), *_must(Integer, "number"), *_must(String(16), "kind"), *_must(Boolean, "common"),
    *_must(Instant, "first_at", "last_at"),
    *_must(Integer, "points", "judged"), *_must(Number, "size_mm"), *_may(Number, "score"),  # the largest, in thresholds
    *_may(Number, "latitude", "longitude", "radius_m"), *_may(Text, "station"), *_may(Number, "distance_m"), *_message("compared_with"),
    UniqueConstraint("point_look_id", "number", name="uq_point_happening"),
)  # fmt: skip
point_anomaly = Table(
    "point_anomaly", metadata,  # where an alarm of a point begins; the strongest of a look
    _ref("point_happening", key=True), *_key(BigId, "point_id"), *_key(Instant, "at"), *_must(Name, "detector", "part"), *_must(String(16), "kind"),
    *_must(Number, "score", "threshold", "size_mm"), *_message("compared_with"), *finite("point_anomaly", "score"),
    Index("ix_point_anomaly_point", "point_id"),
)  # fmt: skip
point_issue = Table(
    "point_issue", metadata,  # forecasts of a set of points after a delivery; which of them still stands, each row of point_forecast says
    _id(), *_must(Name, "site"), _ref("point_set"),
    *_must(BigId, "delivery_id"), *_must(Instant, "known_at"),  # values that came in later were not read
    *_must(Instant, "issued_at"), *_may(Instant, "ended_at"), *_must(BigId, "last_point_id"),  # ended_at is empty while it is written
    *_may(Instant, "newest_at"), *_must(Number, "step_s"), *_may(Number, "jump_mm"), *_must(Integer, "points", "withheld"), *_must(Name, "digest"),
    *_message("reason"),  # why nothing was forecast; empty = it was
    UniqueConstraint("point_set_id", "delivery_id", name="uq_point_issue"), Index("ix_point_issue_site", "site", "id"),
)  # fmt: skip
point_issue_horizon = Table(
    "point_issue_horizon", metadata,  # the rule of an issue at one horizon, and what it did on dates that were held out
    _ref("point_issue", key=True), *_key(Integer, "number"), *_must(Integer, "steps"), *_must(Instant, "target_at"), *_must(Name, "model"),
    *_must(Integer, "level_rows", "slope_rows"), *_must(Number, "damping"), *_must(Integer, "forecasts"),
    *_may(Number, "inside", "error_mm", "persistence_mm", "trend_mm"),
    *_message("reason"),  # why the horizon is withheld; empty = it is not
)  # fmt: skip
point_forecast = Table(
    "point_forecast", metadata,  # the newest forecast of a point, one row; an older issue is made again from the readings
    _ref("point", key=True), _ref("point_issue"), *_may(Number, "value_mm"),
    *_may(Number, "middle_1_mm", "middle_2_mm", "middle_3_mm"),  # by number of the horizon; empty = withheld
    *_may(Number, "half_1_mm", "half_2_mm", "half_3_mm"),  # to either end of the interval of 80 %
    *_must(Integer, "on_line"),  # at which horizons the point follows the trend in place of the rule of the set: 1, 2, 4 added up
    *_message("reason"),  # why there is none at one horizon or more; empty = all are there
)  # fmt: skip

point_rate = Table(
    "point_rate", metadata,  # mean velocity of a point over its whole record, as the newest delivery that was gone through left it
    _ref("point", key=True),
    *_may(Number, "rate_mm_per_year", "error_mm_per_year"), *_must(Integer, "epochs"),  # empty = too few acquisitions
    *_may(Instant, "from_at", "newest_at"),
)  # fmt: skip
point_map = Table(
    "point_map", metadata,  # what the map draws of a set: made after a delivery, in the place of what stood there
    _ref("point_set", key=True), *_must(BigId, "delivery_id"), *_must(Instant, "known_at", "made_at"), *_must(Integer, "points"),
    *_may(Instant, "from_at", "newest_at"),
    *_must(Number, "squash"),  # height of a square by its width, in degrees
    *_may(Integer, "coarsest", "finest"),  # levels of squares; empty = none are needed
)  # fmt: skip
point_square = Table(
    "point_square", metadata,  # points of one square together: 360 degrees of longitude by 2 ** level
    Column("delivery_id", BigId, ForeignKey("point_delivery.id"), primary_key=True, autoincrement=False), *_key(Integer, "level", "y", "x"),
    *_must(Integer, "points", "rated"), *_may(Number, "median_mm_per_year", "least_mm_per_year", "most_mm_per_year"), sqlite_with_rowid=False,
)  # fmt: skip

rejected_message = Table(
    "rejected_message", metadata,
    _id(), *_must(Instant, "received_at"), *_must(Text, "topic"), *_must(LargeBinary, "payload"),
    *_must(BigId, "payload_bytes"),  # true size; the payload kept is cut at the limit
    *_must(Text, "code"), *_message("reason"), *_must(Text, "client"), *_must(Name, "digest"),
    Column("times", Integer, nullable=False, server_default="1"), *_may(Instant, "replayed_at"), *_may(Text, "replay_result"),
    Column("retained", Boolean, nullable=False, server_default=false()), Index("ix_rejected_message_digest", "digest"),
)  # fmt: skip

quarantine_source = Table(
    "quarantine_source", metadata,  # what the quarantine keeps of each source, and what it only counted
    Column("source", String(200), primary_key=True), *_must(BigId, "kept_bytes", "kept_rows", "unkept"), *_may(Instant, "unkept_at"),
)  # fmt: skip

sequence_state = Table(
    "sequence_state", metadata,
    *_key(Name, "site"), Column("source", String(128), primary_key=True), *_key(BigId, "boot_id"), *_must(Name, "station"), *_must(BigId, "last_seq"),
    *_must(Instant, "last_at"),
)  # fmt: skip
sequence_gap = Table(
    "sequence_gap", metadata,
    _id(), *_must(Name, "site", "station"), *_must(Text, "source"), *_must(BigId, "boot_id", "from_seq", "to_seq"),
    *_may(Instant, "from_at", "to_at"), *_must(Instant, "detected_at"), *_may(Instant, "requested_at", "filled_at"),
    Index("ix_sequence_gap_open", "site", "source", "boot_id"),
)  # fmt: skip

report = Table(
    "report", metadata,
    _id(), *_must(Name, "site"), *_must(Instant, "at", "received_at"), *_must(Text, "kind", "text", "by"), *_may(Text, "station", "photo_url"),
    Column("digest", Name, nullable=False, unique=True),
    *_may(Text, "via", "credential"),  # what proved who sent it
)  # fmt: skip
site_event = Table(
    "site_event", metadata,
    _id(), *_must(Name, "site"), *_must(Instant, "from_at", "to_at", "received_at"), *_must(Text, "kind"), *_may(Number, "value"),
    *_must(Text, "text", "by"), Column("digest", Name, nullable=False, unique=True),
    *_may(Instant, "known_from"),  # said by who added it later; only a replay goes by it, for it was not known then to the service
    *_must(Text, "via"),  # mqtt, command, page
    *_withdrawn(),
)  # fmt: skip
event_confirmation = Table(
    "event_confirmation", metadata,  # a person stands behind an event: only then it explains a step
    _id(), Column("event_id", BigId, ForeignKey("site_event.id"), nullable=False), *_must(Name, "site"), *_must(Instant, "at"),
    *_must(Text, "by", "via", "reason"), *_withdrawn(), Index("ix_event_confirmation_event", "event_id"),
)  # fmt: skip

# ---- forecasts -------------------------------------------------------------------------------------------------
forecast = Table(
    "forecast", metadata,  # one wide row per target; append only, never updated; values are absolute at target_at
    _id(), *_must(BigId, "series_id"), *_must(Instant, "issued_at", "data_until", "as_of_received_at", "target_at"),
    *_must(Number, "horizon_s", "q025", "q10", "q50", "q90", "q975"), *_must(Name, "model", "model_hash"),
    *_must(Name, "baseline"), *_must(Number, "baseline_q50", "data_value"),  # at data_until
    *_must(Boolean, "shown"), *_message("reason"), *_may(Text, "stage"), *_may(Number, "latency_ms"),
    *_may(Number, "margin_80", "margin_95"),  # added to both ends by adaptive intervals: feedback needs it
    *_may(Number, "stretch"),  # times that those of the usual pace were widened
    *_may(Number, "novelty"),  # of the present against what calibration saw: above 1 it lay outside
    *_may(Name, "replaces"),  # of a kinematic forecast: what would be shown
    *_may(Number, "weight"),  # of the network in a blend, of networks in auto; of a kinematic forecast its own
    Column("hindcast", Boolean, nullable=False, server_default=false()),  # made afterwards from what was known at issued_at; never shown
    *finite("forecast", "q025", "q10", "q50", "q90", "q975", "baseline_q50", "data_value"),
    UniqueConstraint("series_id", "model", "model_hash", "issued_at", "horizon_s", name="uq_forecast"),
    Index("ix_forecast_series_issued", "series_id", "issued_at"), Index("ix_forecast_target", "target_at"),
    Index("ix_forecast_series_model", "series_id", "model", "issued_at"),  # the last issue of each model by seeks
    Column("target_month", String(7), Computed("substr(target_at, 1, 7)", persisted=True)),
    # all that the monthly views read of a forecast, in the order they group it: neither wide rows nor a sort
    Index("ix_forecast_month", "series_id", "model", "horizon_s", "target_month", "hindcast", "stage", "id", "q025", "q10", "q90", "q975"),
)  # fmt: skip
forecast_withheld = Table(
    "forecast_withheld", metadata,
    _id(), *_must(BigId, "series_id"), *_must(Instant, "issued_at"), *_must(Text, "model"), *_message("reason"),
    *_may(Number, "horizon_s"), *_message("lacking", null=True), *_may(Instant, "earliest_at"),  # when it can be shown
    Index("ix_forecast_withheld_series", "series_id", "issued_at"),
)  # fmt: skip
forecast_score = Table(
    "forecast_score", metadata,
    *_key(BigId, "forecast_id"), *_must(Instant, "observed_at"), *_must(Number, "observed", "error", "baseline_error", "persistence_error"),
    *_must(Boolean, "inside_80", "inside_95"), *_must(Number, "pinball", "winkler_80"), *_must(Instant, "scored_at"),
    *_may(Number, "crps", "pit"),  # of the whole fan
    *_may(String(16), "situation"),  # critical, accelerating, after a step, after rain, steady, creep
    *finite("forecast_score", "observed", "error", "baseline_error", "persistence_error", "pinball", "winkler_80"),
    # all that the monthly views read of a score: rows lie in the order in which targets were observed, page by page of others
    Index(
    "ix_forecast_score_figures", "forecast_id",
    postgresql_include=["error", "baseline_error", "persistence_error", "inside_80", "inside_95", "pinball", "winkler_80", "crps", "pit", "situation"],
    ).ddl_if(dialect="postgresql"),  # SQLite finds a row by its number, with all that it holds
)  # fmt: skip
model = Table(
    "model", metadata,
    *_key(Name, "model_hash"), *_must(Name, "kind"), *_must(String(32), "task"),  # forecast, anomaly, scene
    *_may(Name, "site"), *_must(String(16), "state"),  # candidate, shadow, active, retired
    *_must(Text, "path"), *_must(Json, "card"), *_must(Instant, "created_at"), *_may(Instant, "promoted_at", "retired_at"),
    *_message("reason", null=True),
)  # fmt: skip
model_gate = Table(
    "model_gate", metadata,  # how a checkpoint stands at each horizon; changes are rows of model_transition
    *_key(Name, "model_hash"), Column("horizon_s", Number, primary_key=True),
    *_must(String(16), "state"), *_must(Instant, "since"),  # shadow, active
    *_must(Instant, "counts_from"),  # forecasts issued before its last coming into the shadow say nothing
    *_message("reason"), *_must(Integer, "issues"), *_may(Number, "mae", "baseline_mae", "skill", "coverage_80", "worst_80"),
    *_may(Text, "worst_station"), *_may(Number, "coverage_95", "crps", "baseline_crps"), *_must(Instant, "judged_at"),
    *_message("lacking", null=True), *_may(Instant, "earliest_at"),  # in the shadow: what it lacks, and when it can be shown
)  # fmt: skip
model_transition = Table(
    "model_transition", metadata,  # append only
    _id(), *_must(Name, "model_hash", "kind"),
    *_must(String(32), "task"), *_may(Name, "site"), *_may(Number, "horizon_s"),  # null: the checkpoint as a whole
    *_must(Instant, "at"), *_may(String(16), "from_state"), *_must(String(16), "to_state"), *_message("reason"), *_must(Text, "by", "by_kind"),
    *_may(Text, "second_by"), Index("ix_model_transition_hash", "model_hash", "id"),
)  # fmt: skip
conformal_state = Table(
    "conformal_state", metadata,
    *_key(BigId, "series_id"), *_key(Name, "model"), Column("horizon_s", Number, primary_key=True), Column("nominal", Number, primary_key=True),
    *_must(Number, "alpha_t"), *_must(Integer, "n"), *_must(Json, "state"), *_must(Instant, "updated_at"),
)  # fmt: skip
failure_time = Table(
    "failure_time", metadata,
    _id(), *_must(BigId, "series_id"), *_must(Instant, "issued_at", "data_until", "window_from", "window_mid", "window_to"),
    *_may(Integer, "n_filters", "n_agree"), *_may(Number, "r2", "velocity_mm_per_day"), *_must(Boolean, "trusted"), *_message("reasons"),
    *_may(Instant, "withdrawn_at"),
    Column("method", String(32), nullable=False, server_default="inverse_velocity"),  # or forecast: its quantiles cross the failure velocity
    *_may(Instant, "onset_at"), *_message("withdrawn_reason", null=True), Index("ix_failure_time_series", "series_id", "issued_at"),
)  # fmt: skip

season = Table(
    "season", metadata,  # trend, season and remainder of a series as the newest night found them: one row, replaced
    *_key(BigId, "series_id"), *_must(Instant, "computed_at"), *_must(String(8), "grid"), *_must(Integer, "period_rows", "rows"),
    *_may(Instant, "first_at", "last_at"), *_message("reason"),  # why there is no split; empty where there is one
    *_may(Number, "trend_strength", "season_strength", "season_range"), *_must(Json, "parameters"), *_must(Text, "code_version"),
    *_must(Json, "components"),  # [[at, value, trend, season, remainder]] of each observed row
    Column("method", String(8), nullable=False, server_default=""),  # empty without a split
    *_may(Number, "day_strength", "day_range"),
    Column("day_parts", Json, nullable=False, server_default="[]"),  # [[hour of the UTC day, season]], of MSTL
)  # fmt: skip

movement = Table(
    "movement", metadata,  # how a station moves, one row per update; append only
    _id(), *_must(BigId, "series_id"), *_must(Instant, "at"), *_may(Instant, "data_until"),
    *_must(String(16), "stage", "trend"),  # the words of forecasting.kinematics.stages
    *_may(Number, "velocity_mm_per_day", "velocity_error_mm_per_day", "velocity_window_s", "acceleration_mm_per_day2", "acceleration_error_mm_per_day2", "tangential_angle_deg", "v_eq_mm_per_day", "inverse_velocity_day_per_mm", "probability"),
    *_message("reasons"),
    *_must(Json, "state"),  # what the next update needs: counters of the hysteresis
    UniqueConstraint("series_id", "at", name="uq_movement"),
)  # fmt: skip

# ---- anomalies and scenes --------------------------------------------------------------------------------------
anomaly = Table(
    "anomaly", metadata,
    *_key(BigId, "series_id"), *_key(Instant, "at"), *_key(Name, "detector"), *_must(Number, "score", "threshold", "budget"), *_must(Text, "kind"),
    *_must(Boolean, "alerted"), *_may(Name, "model_hash"), *_must(Instant, "scored_at"), *finite("anomaly", "score", "threshold"),
    *_may(Number, "factor"),  # by which the counted threshold was raised from what people said; null = 1
    *_message("compared_with", null=True),  # what the score was compared with, in words
)  # fmt: skip
reading_gap = Table(
    "reading_gap", metadata,  # readings of a series that are missing between two that are there; one that was filled late says when
    *_key(BigId, "series_id"), *_key(Instant, "to_at", "from_at"), *_must(Integer, "missing"), *_must(Instant, "found_at"),
    *_may(Instant, "filled_at"),
)  # fmt: skip
anomaly_budget = Table(
    "anomaly_budget", metadata,  # false alarms of a detector as measured, and the factor on its threshold from then on; append only, the newest counts
    _id(), *_must(Name, "site", "detector"), *_must(Instant, "at", "from_at"), *_must(Number, "sensor_months"),
    *_must(Integer, "reported", "labelled", "dismissed", "known_cause"), *_may(Number, "rate", "rate_low", "rate_high"),
    *_must(Number, "budget", "factor_before", "factor"), *_message("reason"), *_must(Text, "by"), *_must(String(16), "by_kind"),
    *_must(Json, "evidence"),  # what the factor was counted from: it can be counted again
    Index("ix_anomaly_budget_site", "site", "detector", "id"),
)  # fmt: skip
model_proof = Table(
    "model_proof", metadata,  # whether a criterion that rests on a model may count for the level of its site; append only, the newest of a subject counts
    _id(), *_must(Name, "site"), *_must(String(16), "kind"), *_must(Name, "subject"), *_must(Instant, "tested_at"), *_must(Text, "made_by", "by"),
    *_must(String(16), "by_kind"), *_may(Instant, "rows_from", "rows_until"), *_must(Integer, "rows_tested"),
    *_must(Name, "weights", "settings", "config_sha256"), *_must(Boolean, "passed"), *_message("reasons"), *_must(Json, "result"),
    *_must(Instant, "valid_until"), Index("ix_model_proof_subject", "site", "kind", "subject", "tested_at"),
)  # fmt: skip
anomaly_label = Table(
    "anomaly_label", metadata,  # what a person said of the anomalies of a series in a time; append only, the newest counts
    _id(), *_must(BigId, "series_id"), *_must(Instant, "from_at", "to_at"), *_must(String(16), "verdict"), *_must(String(32), "cause"),
    *_must(Text, "by", "note"), *_must(Instant, "at"), Index("ix_anomaly_label_series", "series_id", "from_at"),
)  # fmt: skip
scene = Table(
    "scene", metadata,
    *_key(Name, "scene_hash"), *_must(Name, "site"), *_must(String(256), "name"), *_may(Instant, "acquired_at"),
    *_must(Text, "role", "path"), *_must(Instant, "received_at"), *_must(Text, "state"),  # waiting, done, failed, superseded
    *_message("error", null=True), *_may(Number, "valid_share"), *_may(Text, "crs"), *_may(Number, "pixel_area_m2"), *_may(Text, "out_dir"),
    *_may(Json, "run"), Index("ix_scene_site", "site", "acquired_at"),
)  # fmt: skip
scene_footprint = Table(
    "scene_footprint", metadata,
    *_key(Name, "scene_hash", "model_hash", "polygon_id"), *_must(Text, "model"), Column("class", Text, nullable=False, server_default="landslide"),
    *_may(Text, "parent_id"), *_must(String(16), "change"), *_must(Number, "area_m2"), *_may(Number, "grown_m2"), *_must(Number, "mean_probability"),
    *_must(Json, "geometry"), *_must(Number, "min_lon", "min_lat", "max_lon", "max_lat"), *_may(Text, "nearest_station"), *_may(Number, "distance_m"),
    *_must(Instant, "detected_at"),
    # what is known today of its change: the newest row of scene_change
    *_may(Instant, "since_at", "first_seen_at"), *_may(Name, "root_id", "anchor_scene"), *_message("caution", null=True),
    *_may(Json, "near_stations"),  # [[station, metres], ...] within reach, nearest first
    *_may(Number, "susceptibility"), *_may(Name, "susceptibility_map"),  # mean of a map, and its sha256
)  # fmt: skip
scene_change = Table(
    "scene_change", metadata,  # every judgement on a footprint, so that what was known at an instant can be told; append only
    *_key(Name, "scene_hash", "model_hash", "polygon_id"), *_key(Instant, "judged_at"), *_must(String(16), "change"), *_may(Text, "parent_id"),
    *_may(Number, "grown_m2"), *_may(Instant, "since_at", "first_seen_at"), *_message("caution", null=True),
)  # fmt: skip
footprint_review = Table(
    "footprint_review", metadata,  # what a person said of a footprint; append only, the newest counts
    _id(), *_must(Name, "scene_hash", "model_hash", "polygon_id"),
    *_must(Instant, "at"), *_must(String(16), "verdict"), *_must(Text, "by"), *_may(Text, "note"),  # accept, reject, redraw
    *_may(Json, "geometry"), Index("ix_footprint_review", "scene_hash", "model_hash", "polygon_id"),
)  # fmt: skip

scene_outline = Table(
    "scene_outline", metadata,  # what people outlined on scenes; never overwritten, a correction is a row of its own
    _id(), *_must(Name, "site", "scene_hash"),
    *_must(String(16), "kind"), *_must(Json, "geometry"), *_must(Number, "area_m2"),  # landslide, not_landslide, nothing
    *_may(Name, "from_model_hash", "from_polygon_id"),  # the footprint that it corrects
    *_must(Text, "note"), *_must(Instant, "at"), *_must(Text, "by"), *_withdrawn(),
    *_may(Number, "min_lon", "min_lat", "max_lon", "max_lat"),  # the box around it
    Index("ix_scene_outline", "site", "scene_hash", "min_lat", "max_lat", "min_lon", "max_lon", "at", "withdrawn_at"),
)  # fmt: skip
scene_unsure = Table(
    "scene_unsure", metadata,  # tiles of a scene that a model is least sure of; each cause (detection, learning) makes its own anew
    *_key(Name, "scene_hash"), Column("tile", Integer, primary_key=True), *_must(Name, "site", "model_hash"),
    *_must(Number, "min_lon", "min_lat", "max_lon", "max_lat", "doubt"), *_must(Instant, "made_at"),
    Column("cause", String(16), nullable=False, server_default="detection"), Index("ix_scene_unsure", "site", "doubt"),
)  # fmt: skip

# ---- alerts ----------------------------------------------------------------------------------------------------
decision = Table(
    "decision", metadata,  # frozen inputs of a level change: recomputable bit for bit
    _id(), *_must(Name, "site"), *_must(Instant, "at"), *_must(Name, "code_version", "config_sha256"), *_must(Text, "evidence"),
    *_must(Name, "evidence_sha256"),
)  # fmt: skip
alert = Table(
    "alert", metadata,
    _id(), *_must(Name, "site"), *_must(String(16), "ledger"), *_must(String(256), "key"), *_must(Integer, "level", "peak_level"),
    *_must(String(32), "state"), *_must(Boolean, "exercise"), *_must(Instant, "raised_at"), *_may(Instant, "data_time"), *_message("reason"),
    Column("decision_id", BigId, ForeignKey("decision.id")), *_must(Text, "rule_version"), *_may(Instant, "acknowledged_at"),
    *_may(Text, "acknowledged_by"), *_may(Instant, "closed_at"), Index("ix_alert_open", "site", "ledger", "key"),
    Index("ix_alert_raised", "site", "raised_at"),
    # one open alert per key, enforced by the database
    Index("uq_alert_open", "site", "ledger", "key", unique=True, sqlite_where=Column("closed_at").is_(None), postgresql_where=Column("closed_at").is_(None)),
)  # fmt: skip
alert_event = Table(
    "alert_event", metadata,
    _id(), _ref("alert"), *_must(Integer, "sequence"), *_must(Instant, "at"), *_may(Instant, "data_time"), *_may(Text, "from_state"),
    *_must(Text, "to_state"), *_may(Integer, "from_level"), *_must(Integer, "to_level"), *_must(Text, "actor", "actor_kind"), *_message("reason"),
    *_may(BigId, "decision_id"), *_may(Text, "via"), *_may(Instant, "until_at"), UniqueConstraint("alert_id", "sequence", name="uq_alert_event"),
)  # fmt: skip
alert_outcome = Table(
    "alert_outcome", metadata,
    _id(), _ref("alert"), *_must(String(32), "class"), *_must(Text, "by", "note"), *_must(Instant, "at"),
)  # fmt: skip
photo = Table(
    "photo", metadata,  # of an alert or of a report; the pictures are written anew, without what the camera put beside them
    _id(), *_must(Name, "site"), Column("alert_id", BigId, ForeignKey("alert.id")), *_may(BigId, "report_id"), *_must(Instant, "added_at"),
    *_must(Text, "by"), *_may(Text, "via"), *_must(Text, "note"), *_must(Name, "sha256"), *_must(Integer, "width", "height"),
    *_must(Text, "taken"), *_may(Number, "latitude", "longitude"), *_must(Text, "camera"),  # as the camera said
    *_must(LargeBinary, "picture", "small"), Index("ix_photo_site", "site", "added_at"), Index("ix_photo_alert", "alert_id"),
)  # fmt: skip
notification = Table(
    "notification", metadata,  # the outbox
    _id(), _ref("alert"), Column("event_id", BigId, ForeignKey("alert_event.id"), nullable=False), *_must(Name, "site"), *_must(String(16), "ledger"),
    *_must(Integer, "level"), *_must(Text, "level_name", "recipient", "channel"), *_must(Boolean, "exercise"), *_message("subject"),
    *_message("body"), *_must(String(16), "state"), Column("attempts", Integer, nullable=False, server_default="0"), *_must(Instant, "queued_at"),
    *_may(Instant, "sent_at", "confirmed_at", "next_attempt_at"), *_may(BigId, "superseded_by"), *_message("last_error", null=True),
    *_may(Text, "lease_owner"), *_may(Instant, "lease_until"), *_may(Text, "confirmed_by", "confirmed_via"),
    Column("idempotency_key", Name, nullable=False, unique=True),
    *_may(Text, "provider_id", "provider_said"), *_may(Instant, "received_at"),  # what the other side calls it, said last, and when the device had it
    Column("undelivered", Integer, nullable=False, server_default="0"),  # so often it could not deliver what it had taken
    Index("ix_notification_due", "state", "next_attempt_at"), Index("ix_notification_alert", "alert_id"),
    Index("ix_notification_provider", "provider_id"),
)  # fmt: skip
reply_code = Table(
    "reply_code", metadata,  # by which the recipient of one message acknowledges its alert in a reply; of that number alone
    *_key(BigId, "notification_id"), *_must(BigId, "alert_id"), *_must(Text, "address", "person", "language", "code"), *_must(Integer, "level"),
    *_must(Instant, "made_at", "expires_at"), *_may(Instant, "used_at"), Index("ix_reply_code_address", "address", "code"),
)  # fmt: skip
reply = Table(
    "reply", metadata,  # what came back from a telephone, and what became of it
    _id(), *_must(Instant, "at"), *_must(String(16), "way"), *_must(Text, "sender", "text"), Column("provider_id", Text, nullable=False, unique=True),
    *_must(String(16), "outcome"), *_may(BigId, "alert_id"), *_may(Text, "person"), Index("ix_reply_sender", "sender", "at"),
)  # fmt: skip
push_subscription = Table(
    "push_subscription", metadata,  # a browser that takes messages for a person; in no view and no published copy
    _id(), *_must(Name, "user_name"), Column("endpoint_sha256", Name, nullable=False, unique=True),
    *_must(Text, "endpoint", "p256dh", "auth", "device"), *_must(Instant, "added_at"), *_may(Instant, "sent_at", "ended_at"),
    *_message("ended_why", null=True), Index("ix_push_subscription_user", "user_name"),
)  # fmt: skip
siren_order = Table(
    "siren_order", metadata,  # what a siren or a sign was told to do, and what it answered
    _id(), *_must(Text, "topic"), *_must(BigId, "sequence"), *_may(BigId, "notification_id"), *_must(Name, "site"),
    *_must(String(8), "wanted"), *_must(Integer, "level"), *_must(Text, "level_name"), *_must(Boolean, "exercise"),  # wanted: on, off, test
    *_must(Instant, "ordered_at", "sent_at", "valid_until"), *_must(Integer, "times"), *_may(Instant, "confirmed_at"),
    *_may(Text, "confirmed_by", "said"), UniqueConstraint("topic", "sequence", name="uq_siren_order"),
)  # fmt: skip
channel_test = Table(
    "channel_test", metadata,  # whether a channel works: an exercise message to the target of its test
    _id(), *_must(Text, "channel", "target"), *_must(Instant, "at"), *_must(Boolean, "good"), *_must(Text, "found"), *_may(Text, "provider_id"),
    *_may(Instant, "received_at"), Index("ix_channel_test_channel", "channel", "at"),
)  # fmt: skip

# ---- who is on duty ----------------------------------------------------------------------------------------------
duty_rota = Table(
    "duty_rota", metadata,  # append only: the plan of a team from an instant on, until a later one begins
    _id(), *_must(Name, "site", "team"),
    *_must(Instant, "valid_from"), *_must(String(10), "begins"),  # the Monday of its first week
    *_must(Text, "zone", "plan", "by", "reason"), *_must(Instant, "added_at"), Index("ix_duty_rota_team", "site", "team"),
)  # fmt: skip
duty_override = Table(
    "duty_override", metadata,  # for a time somebody takes the place of somebody else
    _id(), *_must(Name, "site", "team"), *_must(Instant, "from_at", "to_at"), *_may(Text, "person_out", "person_in"), *_must(Text, "by", "reason"),
    *_must(Instant, "added_at"), *_withdrawn(), Index("ix_duty_override_team", "site", "team", "to_at"),
)  # fmt: skip
duty_turn = Table(
    "duty_turn", metadata,  # who is on duty, day by day: the past stays, what is to come is laid out anew
    *_key(Name, "site", "team"), *_key(Instant, "from_at"),
    *_must(Instant, "to_at"), *_must(String(10), "day"),  # of the site's clock
    *_may(Text, "person", "second_person"),  # empty = nobody: the whole team is notified
)  # fmt: skip
duty_handover = Table(
    "duty_handover", metadata,  # who gave the watch to whom, with what was open then
    _id(), *_must(Name, "site", "team"), *_may(Instant, "since_at"), *_must(Instant, "at"), *_must(Text, "outgoing", "notes"),
    *_must(Json, "open_items"), *_may(Instant, "signed_at"), *_may(Text, "incoming", "remark"), *_withdrawn(),
    Index("ix_duty_handover_team", "site", "team", "at"),
)  # fmt: skip

digest = Table(
    "digest", metadata,  # the daily digest of a site to one recipient: one row a local day
    *_key(Name, "site"), Column("recipient", String(256), primary_key=True), Column("day", String(10), primary_key=True), *_must(Text, "channel"),
    *_must(Instant, "at"), *_must(String(8), "state"), *_must(Integer, "attempts"), *_message("error", null=True),
)  # fmt: skip

# ---- change control and exercises ----------------------------------------------------------------------------------
maintenance = Table(
    "maintenance", metadata,  # work on a station: its votes are pended up to a level, for a time
    _id(), *_must(Name, "site", "station"), *_must(Instant, "from_at", "to_at"), *_must(Text, "by"), *_may(Text, "second_by"), *_must(Text, "reason"),
    *_must(Instant, "added_at"), *_may(Instant, "ended_at"), *_may(Text, "ended_by"), Index("ix_maintenance_site", "site", "to_at"),
)  # fmt: skip
site_proposal = Table(
    "site_proposal", metadata,  # a site file that waits for somebody to approve it
    _id(), *_must(Name, "site", "sha256"), *_may(Name, "base_sha256"), *_must(Text, "source"),
    *_must(Text, "author", "reason"), *_must(Instant, "proposed_at"), *_must(String(16), "state"),  # proposed, approved, rejected, superseded
    *_may(Json, "effect", "differences"), *_must(Boolean, "loosens_high"), *_may(Text, "approved_by", "second_by"), *_may(Instant, "decided_at"),
    *_message("decision_reason", null=True), Index("ix_site_proposal_site", "site", "state"),
)  # fmt: skip
drill = Table(
    "drill", metadata,  # an exercise: a recorded or simulated failure up to the channels, apart from the real state
    _id(), *_must(Name, "site"), *_must(Instant, "started_at"), *_may(Instant, "ended_at"), *_must(Text, "by", "scenario", "state"),
    *_may(Json, "outcome"),
)  # fmt: skip

# ---- people, audit, service ------------------------------------------------------------------------------------
user_account = Table(
    "user_account", metadata,
    *_key(Name, "name"), *_must(Text, "password_hash"), *_must(String(16), "role"),  # viewer, operator, admin
    *_must(Instant, "created_at"), *_may(Instant, "disabled_at"),
    *_may(Json, "sites"),  # the only ones it may act on, and read where reading takes a login; empty = all
    *_may(Name, "os_user"),  # this user of the operating system is that person, at a command
    *_may(Text, "oidc_issuer", "oidc_subject"),  # this person of that provider comes in as this account
    Index("ix_user_account_os_user", "os_user", unique=True), Index("ix_user_account_oidc", "oidc_issuer", "oidc_subject", unique=True),
)  # fmt: skip
first_signature = Table(
    "first_signature", metadata,  # the word of one person for an act that takes two; the act is done with the second one
    _id(), *_must(Name, "act"), *_must(Text, "subject", "terms"), *_must(Integer, "height"), *_must(Text, "by", "reason"),
    *_must(Instant, "signed_at"), *_may(Instant, "used_at"), *_may(Text, "used_by"), *_withdrawn(), Index("ix_first_signature_act", "act", "subject"),
)  # fmt: skip
second_factor = Table(
    "second_factor", metadata,  # in no view and no published copy
    *_key(Name, "user_name"), *_must(Text, "secret"),  # sealed by monitor.web.access.vault
    *_must(Instant, "created_at"), *_must(Integer, "last_step"),  # no code counts twice
    *_may(Instant, "pending_since"),  # made on the page, and no code of it was seen yet: it asks for nothing
)  # fmt: skip
recovery_code = Table(
    "recovery_code", metadata,  # each lets in once when the telephone is lost; hashes of 80 random bits
    *_key(Name, "code_sha256"), *_must(Name, "user_name"), *_must(Instant, "created_at"), *_may(Instant, "used_at"),
    Index("ix_recovery_code_user", "user_name"),
)  # fmt: skip
api_token = Table(
    "api_token", metadata,  # by which a program reads and acts in the name of an account
    _id(), *_must(Name, "user_name", "label"),
    *_must(String(16), "scope"), *_may(Json, "sites"),  # read, act, admin; empty = all sites of the account
    Column("token_sha256", Name, nullable=False, unique=True), *_must(Instant, "created_at", "expires_at"), *_may(Instant, "revoked_at"),
)  # fmt: skip
web_session = Table(
    "web_session", metadata,
    *_key(Name, "token_sha256"), *_must(Name, "user_name"), *_must(Instant, "created_at", "expires_at", "seen_at"),
)  # fmt: skip
password_guess = Table(
    "password_guess", metadata,  # wrong passwords at the command line since the last right one: the next answer waits
    *_key(Name, "user_name"), Column("os_user", String(128), primary_key=True), *_must(Integer, "failures"), *_must(Instant, "next_at"),
)  # fmt: skip
known_device = Table(
    "known_device", metadata,  # where an account logged in before: guesses from elsewhere do not slow it down there
    *_key(Name, "token_sha256", "user_name"), *_must(Instant, "used_at"),
)  # fmt: skip
audit_entry = Table(
    "audit_entry", metadata,
    _id(), *_must(Instant, "at"), *_must(Text, "actor", "actor_kind", "action", "subject", "detail"), *_must(Name, "previous_hash"),
    Column("hash", Name, nullable=False, unique=True), Index("ix_audit_entry_action", "action", "subject"),
)  # fmt: skip
service_state = Table(
    "service_state", metadata,  # what other processes need to know of this one: progress stamps, session, broker
    Column("name", String(128), primary_key=True), *_must(Instant, "at"), *_must(Json, "detail"),
)  # fmt: skip
# one row per source of files, watched folders too; and one per file of it that was taken
source_poll = Table(
    "source_poll", metadata,
    Column("source", String(80), primary_key=True), *_must(Name, "site"), *_must(Text, "kind"), *_must(Instant, "polled_at"),
    *_may(Instant, "success_at"), *_must(Instant, "since_at"), *_message("error", null=True), *_may(Instant, "error_since"),
    *_must(Integer, "failures"), *_must(Instant, "next_at"), *_must(Integer, "rows_new"), *_must(BigId, "rows_all"), *_may(Text, "address"),
    *_may(Instant, "new_at"),
)  # fmt: skip
source_file = Table(
    "source_file", metadata,
    Column("source", String(80), primary_key=True), Column("name", String(500), primary_key=True), *_must(String(300), "etag", "modified"),
    *_must(BigId, "size"), *_must(Name, "sha256"), *_must(Instant, "taken_at"),
    *_message("reason", null=True),  # why this version was not taken; empty = it is stored
)  # fmt: skip
job_run = Table(
    "job_run", metadata,
    _id(), *_must(Name, "job"), *_may(Name, "site"), *_must(Instant, "started_at"), *_may(Instant, "finished_at"),
    *_must(String(16), "state"),  # running, done, failed, killed, missed
    *_may(Text, "detail"), Index("ix_job_run_started", "job", "started_at"),
)  # fmt: skip

# ---- the service itself ----------------------------------------------------------------------------------------
observation_summary = Table(
    "observation_summary", metadata,  # what retention left of readings it let go: one row for each hour or day
    *_key(BigId, "series_id"), *_key(Instant, "starts_at"),
    *_key(Integer, "span_s"), *_key(Instant, "made_at"),  # readings that came later are a row more
    *_may(Number, "median", "minimum", "maximum", "mean"),  # of readings without a flag; raw
    *_must(Integer, "count", "flagged"),
)  # fmt: skip
retention_run = Table(
    "retention_run", metadata,  # append only: what a run of retention did to one table or quantity
    _id(), *_must(Instant, "at"), *_must(Text, "what"), *_may(Instant, "before_at"), *_must(BigId, "removed", "summaries"),
    *_must(Number, "seconds", "longest_ms"),  # of its transactions
)  # fmt: skip
issued_report = Table(
    "issued_report", metadata,  # bulletins and shift reports, each with what it said; the rows are sealed
    _id(), *_must(Name, "site"), *_must(String(16), "kind"), *_must(Instant, "from_at", "to_at", "made_at"), *_must(String(8), "language"),
    *_must(Name, "facts_sha256"), *_must(Text, "code_version"),
    *_must(Text, "facts"),  # all that it says, canonical JSON: what the digest is of
    UniqueConstraint("site", "kind", "language", "to_at", name="uq_issued_report"),
)  # fmt: skip
report_mail = Table(
    "report_mail", metadata,
    _id(), Column("report_id", BigId, ForeignKey("issued_report.id"), nullable=False), *_must(Text, "channel"), *_must(String(8), "form"),
    *_must(String(16), "state"), *_must(Integer, "attempts"), *_must(Instant, "queued_at"), *_may(Instant, "sent_at", "next_attempt_at"),
    *_may(Text, "last_error"), Column("idempotency_key", Name, nullable=False, unique=True), Index("ix_report_mail_due", "state", "next_attempt_at"),
)  # fmt: skip
backup_run = Table(
    "backup_run", metadata,  # append only: a copy that was made, or why there is none
    _id(), *_must(Instant, "at"), *_must(Text, "file", "state"),  # proven, made, failed
    *_must(Number, "seconds"), *_may(BigId, "bytes", "rows"),  # of all tables, counted in the restored copy
    *_may(Text, "audit_head"), *_must(Text, "detail"),
)  # fmt: skip
service_check = Table(
    "service_check", metadata,  # how what the service stands on does: one row a subject, replaced
    *_key(Name, "name"), *_must(String(8), "state"), *_must(Instant, "since", "checked_at"), *_may(Number, "value"), *_may(String(16), "unit"),
    *_message("found"), *_message("remedy"),
)  # fmt: skip
outage = Table(
    "outage", metadata,  # a time in which readings did not come in, until what had waited was read
    _id(), *_must(Text, "cause"), *_must(Instant, "from_at", "back_at", "drained_at"), *_may(Instant, "counted_at"), *_must(Instant, "counts_until"),
)  # fmt: skip
outage_station = Table(
    "outage_station", metadata,  # what became of the readings of an outage; counted again while late ones may come
    _ref("outage", key=True), *_key(Name, "site"),
    *_key(Name, "station"), *_may(Integer, "expected"),  # epochs, by the cadence of the station; empty = it has none
    *_must(Integer, "received", "late"), *_may(Integer, "missing"), *_may(Instant, "last_late_at"),
)  # fmt: skip
