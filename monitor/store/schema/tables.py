"""Every table of the service. Decisions, forecasts and audit only ever add rows; SQL for people is in views.py.

Names: tables are singular, the public views plural or composite (see docs/reference/sql.md).
"""

import json
import re
from collections.abc import Iterator
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
from monitor.domain.canonical import CanonicalText, canonical_json
from monitor.domain.instants import format_iso, parse

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
        return None if value is None else format_iso(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Read the instant back as aware UTC."""
        return None if value is None else parse(value)


class Json(TypeDecorator[Any]):
    """Canonical JSON text: sorted keys, no blanks, no NaN; hashes of it are stable."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Spell canonically what is not spelled yet; None stays NULL."""
        if isinstance(value, CanonicalText):
            return str(value)
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Read back."""
        return None if value is None else json.loads(value)


metadata = MetaData()
BigId: Final = BigInteger().with_variant(Integer, "sqlite")
_TYPES: Final[dict[str, Any]] = {
    "text": Text,
    "name": String(64),
    "instant": Instant,
    "number": Double,
    "int": Integer,
    "big": BigId,
    "bool": Boolean,
    "json": Json,
    "bytes": LargeBinary,
}
_TABLE: Final = re.compile(r"(\w+)\s+(?:# (.+)\n)?((?s:.+))")
_GROUP: Final = re.compile(r"(key )?(\w+)(?:\((\d+)\))?(\?)? (.+)")
_COLUMN: Final = re.compile(r"(\w+)( unique)?(?: -> (\w+))?(?: = (\S+))?(?: := (.+))?")


def _table(declaration: str) -> Table:
    """A table from its declaration: its name, then lines of columns, then a line for each index and constraint.

    Columns are `type name, name`, with a semicolon between groups. `key` stands before those of the primary key, `?`
    behind the type of what may be empty; a column may be `unique`, the id of a row of another table (`-> table`), have
    a default (`= value`) or be computed (`:= expression`). `message` is a text of the program with its id and values,
    both empty where a person wrote the text. `finite` refuses NaN, which SQLite would make NULL, and infinity, which
    would break JSON in PostgreSQL. Behind `#` stands the comment of the table, or of the last group in the line.
    """
    name, comment, rest = _match(_TABLE, declaration)
    lines = re.sub(r",\n +", ", ", rest).splitlines()
    parts = [part for line in lines for part in _read_line(name, *line.strip().split("  # "))]
    options: dict[str, Any] = {"sqlite_with_rowid": False} if "without rowid" in lines[-1] else {}
    return Table(name, metadata, *parts, comment=comment, **options)


def _read_line(table: str, line: str, comment: str | None = None) -> Iterator[Any]:
    rule, _, rest = line.partition(": ")
    listed, _, where = rest.partition(" where ")
    columns = listed.split(", ")
    match rule.split():
        case ["finite"]:
            yield from (
                CheckConstraint(f"{c} > -1e300 AND {c} < 1e300", name=f"ck_{table}_{c}_finite") for c in columns
            )
        case ["check", name]:
            yield CheckConstraint(rest, name=name)
        case ["unique", name]:
            yield UniqueConstraint(*columns, name=name)
        case [*unique, "index", name]:
            only: dict[str, Any] = {"sqlite_where": text(where), "postgresql_where": text(where)} if where else {}
            yield Index(name, *columns, unique=bool(unique), **only)
        case [] | ["#", *_] | ["without", *_]:
            pass
        case _:
            *groups, last = line.split("; ")
            for group in groups:
                yield from _read_columns(group, None)
            yield from _read_columns(last, comment)


def _read_columns(group: str, comment: str | None) -> Iterator[Column[Any]]:
    is_key, type_name, length, may_be_empty, listed = _match(_GROUP, group)
    for declared in re.split(r", (?![^(]*\))", listed):
        name, unique, table, default, expression = _match(_COLUMN, declared)
        if type_name == "message":
            yield from _message(name, comment, null=bool(may_be_empty))
            continue
        kind = String(int(length)) if length else _TYPES[type_name]
        more: list[Any] = [ForeignKey(f"{table}.id")] if table else []
        more += [Computed(expression, persisted=True)] if expression else []
        options: dict[str, Any] = {"primary_key": True} if is_key else {"nullable": bool(may_be_empty)}
        options |= {"autoincrement": False} if is_key and (name, type_name) != ("id", "big") else {}
        options |= {"unique": True} if unique else {}
        options |= {"server_default": false() if default == "false" else default.strip("'")} if default else {}
        yield Column(name, kind, *more, comment=comment, **options)


def _match(pattern: re.Pattern[str], part: str) -> tuple[Any, ...]:
    found = pattern.fullmatch(part)
    if found is None:
        raise ValueError(f"no declaration of columns: {part}")
    return found.groups()


def _message(name: str, comment: str | None, *, null: bool) -> list[Column[Any]]:
    """A text of the program beside its id and values. An insert fills them; an update names them: `message_columns`."""

    def find_id(context: Any) -> str | None:
        return getattr(context.get_current_parameters().get(name), "id", None)

    def find_values(context: Any) -> dict[str, Any] | None:
        value = context.get_current_parameters().get(name)
        return values_to_json(value.values) if isinstance(value, Message) else None

    return [
        Column(name, Text, nullable=null, comment=comment),
        Column(f"{name}_id", Text, default=find_id),
        Column(f"{name}_values", Json, default=find_values),
    ]


# ---- sites -----------------------------------------------------------------------------------------------------
config_version = _table("""config_version
    key big id; text site, sha256; text source  # the file itself: a decision is recomputed from it
    instant loaded_at; text author; message reason; text code_version
    unique uq_config_version: site, sha256, loaded_at""")

site = _table("""site
    key name id; text name; number latitude, longitude; text timezone
    json levels  # [{"number","name","action","auto_lower"}]
    text config_sha256; bool active""")

station = _table("""station
    key name site, id; number? latitude, longitude, height_m, azimuth_deg, plunge_deg
    text? reference, logger, antenna; bool on_slope, declared; text? gateway, power""")

site_state = _table("""site_state
    key name site; int level; text level_source; instant since, evaluated_at; text observability
    int reachable_level, witnesses_available; text health; text? movement_stage, trend; instant? newest_at
    text config_sha256; json state  # ladder memory: dwell, votes, pending steps, holds
    bool? catching_up  # readings that waited were being read: levels may rise, silence was not judged
""")

station_state = _table("""station_state
    key name site, station; text state; instant since; message reason; instant? newest_at
    number? expected_interval_s, missing_share_24h; bool votes""")

# what each criterion on forecasts said last; a row goes with its forecast
forecast_chance = _table("""forecast_chance
    key name site, criterion, station; key int level; instant evaluated_at, data_until
    number window_s, over_mm_per_day, chance_from, chance_to, probability; bool crossed; text model, config_sha256""")

# what each vote on a rate measured last, against the bounds in force
rate_now = _table("""rate_now
    key name site, criterion, station; text quantity, unit; int level; bool counted; instant newest_at
    number rate, error, least, window_s, bound; int bound_level; int? next_level
    number? next_bound, next_rate, next_window_s""")

# how each instrument does beside what decisions look at: found by a job, read by people, and by no decision
instrument_finding = _table("""instrument_finding
    key name site, station; key text(16) state; int rank; instant since; message reason; message action""")
instrument = _table("""instrument
    key name site, station; instant judged_at; number? battery_v; instant? battery_at, battery_empty_at
    message battery_method; text(10)? calibrated_on, calibration_due_on; name? spark_of
    json? spark  # values of equal spans, None = nothing came
""")
instrument_month = _table("""instrument_month
    key name site, station; key text(7) month; int expected, received""")

evaluation = _table("""evaluation
    key big id; name site; instant at; text trigger  # data, tick, person, start
    int level; text observability; int reachable_level; instant? known_until  # newest received_at that was seen
    text config_sha256; text digest  # of state after
    index ix_evaluation_site_at: site, at""")

# ---- observations ----------------------------------------------------------------------------------------------
series = _table("""series
    key big id; name site, station, quantity; text(32) unit; instant created_at
    unique uq_series: site, station, quantity""")

observation = _table("""observation
    key big series_id; key instant observed_at; key int revision; instant received_at; number value_raw
    number? sigma; text(16)? solution; text flags = ''  # comma list set at arrival, never changed
    text? extra  # canonical JSON of the epoch: covariance, fix, satellites
    finite: value_raw
    check ck_observation_sigma: sigma IS NULL OR (sigma >= 0 AND sigma < 1e300)
    index ix_observation_flagged: series_id where flags <> ''
    without rowid""")

observation_flag = _table("""observation_flag  # later flags, append-only: `flag` or `-flag` withdraws
    key big id; big series_id; instant observed_at; int revision; text flag; instant known_from; text by
    message reason
    index ix_observation_flag_key: series_id, observed_at, revision""")

series_latest = _table("""series_latest
    # newest not future-dated epoch of each series, so that no view walks the history
    key big series_id; instant observed_at; int revision; instant received_at; number value_raw; number? sigma
    text(16)? solution; text flags""")

offset_entry = _table("""offset_entry
    key big id; big series_id; instant at, known_from; number size; text(32) unit; text kind, author, reason
    instant? confirmed_at; text? confirmed_by; instant? revoked_at; text? revoked_by
    finite: size
    index ix_offset_entry_series: series_id, at""")

point_set = _table("""point_set  # InSAR: thousands of points that share dates; apart from instruments
    key big id; name site; text(128) name; text direction; text(32) unit; json? meta
    unique uq_point_set: site, name""")
point = _table("""point
    key big id; big point_set_id -> point_set; name pid; number latitude, longitude; number? height_m; json? static
    unique uq_point: point_set_id, pid
    index ix_point_place: point_set_id, latitude, longitude""")
point_observation = _table("""point_observation
    key big point_id; key instant observed_at; key int revision; instant received_at; number value_raw; number? sigma
    finite: value_raw
    without rowid""")
point_delivery = _table("""point_delivery  # a file of points that came in: when it was through, and what was new in it
    key big id; name site; big point_set_id -> point_set; text file; instant received_at, newest_at
    int stored, revisions""")
point_look = _table("""point_look  # a look of the detectors at the newest acquisitions of a set; append only
    key big id; name site; big point_set_id -> point_set; big delivery_id
    instant known_at  # values that came in later were not looked at
    instant looked_at; big last_point_id; big after_point_id  # points up to this one were looked at before
    instant? from_at, newest_at  # acquisitions in (from_at, newest_at] were new
    int acquisitions, points, withheld, alarms, happenings, going_on, left_out; number budget; number? jump_mm
    json thresholds; name digest; message reason  # why nothing was looked at; empty = it was
    unique uq_point_look: point_set_id, delivery_id
    index ix_point_look_site: site, id""")
point_happening = _table("""point_happening
    # one cause: points that alarm together, or what most points of the set did the same way
    key big id; big point_look_id -> point_look; int number; text(16) kind; bool common; instant first_at, last_at
    int points, judged; number size_mm; number? score  # the largest, in thresholds
    number? latitude, longitude, radius_m; text? station; number? distance_m; message compared_with
    unique uq_point_happening: point_look_id, number""")
point_anomaly = _table("""point_anomaly  # where an alarm of a point begins; the strongest of a look
    key big point_happening_id -> point_happening; key big point_id; key instant at; name detector, part
    text(16) kind; number score, threshold, size_mm; message compared_with
    finite: score
    index ix_point_anomaly_point: point_id""")
point_issue = _table("""point_issue
    # forecasts of a set of points after a delivery; which of them still stands, each row of point_forecast says
    key big id; name site; big point_set_id -> point_set; big delivery_id
    instant known_at  # values that came in later were not read
    instant issued_at; instant? ended_at  # empty while it is written
    big last_point_id
    instant? newest_at; number step_s; number? jump_mm; int points, withheld; name digest
    message reason  # why nothing was forecast; empty = it was
    unique uq_point_issue: point_set_id, delivery_id
    index ix_point_issue_site: site, id""")
point_issue_horizon = _table("""point_issue_horizon
    # the rule of an issue at one horizon, and what it did on dates that were held out
    key big point_issue_id -> point_issue; key int number; int steps; instant target_at; name model
    int level_rows, slope_rows; number damping; int forecasts; number? inside, error_mm, persistence_mm, trend_mm
    message reason  # why the horizon is withheld; empty = it is not
""")
point_forecast = _table("""point_forecast
    # the newest forecast of a point, one row; an older issue is made again from the readings
    key big point_id -> point; big point_issue_id -> point_issue; number? value_mm
    number? middle_1_mm, middle_2_mm, middle_3_mm  # by number of the horizon; empty = withheld
    number? half_1_mm, half_2_mm, half_3_mm  # to either end of the interval of 80 %
    int on_line  # at which horizons the point follows the trend in place of the rule of the set: 1, 2, 4 added up
    message reason  # why there is none at one horizon or more; empty = all are there
""")

point_rate = _table("""point_rate
    # mean velocity of a point over its whole record, as the newest delivery that was gone through left it
    key big point_id -> point; number? rate_mm_per_year, error_mm_per_year  # empty = too few acquisitions
    int epochs
    instant? from_at, newest_at""")
point_map = _table("""point_map  # what the map draws of a set: made after a delivery, in the place of what stood there
    key big point_set_id -> point_set; big delivery_id; instant known_at, made_at; int points
    instant? from_at, newest_at; number squash  # height of a square by its width, in degrees
    int? coarsest, finest  # levels of squares; empty = none are needed
""")
point_square = _table("""point_square  # points of one square together: 360 degrees of longitude by 2 ** level
    key big delivery_id -> point_delivery; key int level, y, x; int points, rated
    number? median_mm_per_year, least_mm_per_year, most_mm_per_year
    without rowid""")

rejected_message = _table("""rejected_message
    key big id; instant received_at; text topic; bytes payload
    big payload_bytes  # true size; the payload kept is cut at the limit
    text code; message reason; text client; name digest; int times = 1; instant? replayed_at; text? replay_result
    bool retained = false
    index ix_rejected_message_digest: digest""")

quarantine_source = _table("""quarantine_source  # what the quarantine keeps of each source, and what it only counted
    key text(200) source; big kept_bytes, kept_rows, unkept; instant? unkept_at""")

sequence_state = _table("""sequence_state
    key name site; key text(128) source; key big boot_id; name station; big last_seq; instant last_at""")
sequence_gap = _table("""sequence_gap
    key big id; name site, station; text source; big boot_id, from_seq, to_seq; instant? from_at, to_at
    instant detected_at; instant? requested_at, filled_at
    index ix_sequence_gap_open: site, source, boot_id""")

report = _table("""report
    key big id; name site; instant at, received_at; text kind, text, by; text? station, photo_url
    name digest unique; text? via, credential  # what proved who sent it
""")
site_event = _table("""site_event
    key big id; name site; instant from_at, to_at, received_at; text kind; number? value; text text, by
    name digest unique
    instant? known_from  # by who added it later; only a replay goes by it
    text via  # mqtt, command, page
    instant? withdrawn_at; text? withdrawn_by""")
event_confirmation = _table("""event_confirmation  # a person stands behind an event: only then it explains a step
    key big id; big event_id -> site_event; name site; instant at; text by, via, reason; instant? withdrawn_at
    text? withdrawn_by
    index ix_event_confirmation_event: event_id""")

# ---- forecasts -------------------------------------------------------------------------------------------------
forecast = _table("""forecast  # one wide row per target; append only, never updated; values are absolute at target_at
    key big id; big series_id; instant issued_at, data_until, as_of_received_at, target_at
    number horizon_s, q025, q10, q50, q90, q975; name model, model_hash; name baseline
    number baseline_q50, data_value  # at data_until
    bool shown; message reason; text? stage; number? latency_ms
    number? margin_80, margin_95  # added to both ends by adaptive intervals: feedback needs it
    number? stretch  # times that those of the usual pace were widened
    number? novelty  # of the present against what calibration saw: above 1 it lay outside
    name? replaces  # of a kinematic forecast: what would be shown
    number? weight  # of the network in a blend, of networks in auto; of a kinematic forecast its own
    bool hindcast = false  # made afterwards from what was known at issued_at; never shown
    finite: q025, q10, q50, q90, q975, baseline_q50, data_value
    unique uq_forecast: series_id, model, model_hash, issued_at, horizon_s
    index ix_forecast_series_issued: series_id, issued_at
    index ix_forecast_target: series_id, target_at
    index ix_forecast_series_model: series_id, model, issued_at  # the last issue of each model by seeks
    # all that coverage over the newest thirty reads of a forecast, in its order: neither wide rows nor a sort
    index ix_forecast_order: series_id, model, horizon_s, hindcast, target_at, issued_at, id, shown""")
forecast_withheld = _table("""forecast_withheld
    key big id; big series_id; instant issued_at; text model; message reason; number? horizon_s; message? lacking
    instant? earliest_at  # when it can be shown
    index ix_forecast_withheld_series: series_id, issued_at""")
forecast_score = _table("""forecast_score
    key big forecast_id; instant observed_at; number observed, error, baseline_error, persistence_error
    bool inside_80, inside_95; number pinball, winkler_80; instant scored_at; number? crps, pit  # of the whole fan
    text(16)? situation  # critical, accelerating, after a step, after rain, steady, creep
    int? rolled, rolled_80, rolled_95  # it and up to 29 before it, and how many of them lay inside: by score_sums
    finite: observed, error, baseline_error, persistence_error, pinball, winkler_80
""")
forecast_month = _table("""forecast_month
    # sums over the scored forecasts of a month, so that no view walks them all; errors without their sign
    key big series_id; key name model; key number horizon_s; key text(7) month; key bool hindcast
    key text(32) stage; key text(16) situation  # empty = none
    int n, inside_80, inside_95; number error, baseline_error, persistence_error, pinball, winkler_80, width_80,
        width_95; int crps_n, pit_n, pit_below_10, pit_above_90; number crps
    without rowid""")

model = _table("""model
    key name model_hash; name kind; text(32) task  # forecast, anomaly, scene
    name? site; text(16) state  # candidate, shadow, active, retired
    text path; json card; instant created_at; instant? promoted_at, retired_at; message? reason""")
model_gate = _table("""model_gate  # how a checkpoint stands at each horizon; changes are rows of model_transition
    key name model_hash; key number horizon_s; text(16) state  # shadow, active
    instant since, counts_from  # forecasts issued before its last coming into the shadow say nothing
    message reason; int issues; number? mae, baseline_mae, skill, coverage_80, worst_80; text? worst_station
    number? coverage_95, crps, baseline_crps; instant judged_at; message? lacking
    instant? earliest_at  # in the shadow: what it lacks, and when it can be shown
""")
model_transition = _table("""model_transition  # append only
    key big id; name model_hash, kind; text(32) task; name? site; number? horizon_s  # null: the checkpoint as a whole
    instant at; text(16)? from_state; text(16) to_state; message reason; text by, by_kind; text? second_by
    index ix_model_transition_hash: model_hash, id""")
conformal_state = _table("""conformal_state
    key big series_id; key name model; key number horizon_s; key number nominal; number alpha_t; int n; json state
    instant updated_at""")
failure_time = _table("""failure_time
    key big id; big series_id; instant issued_at, data_until, window_from, window_mid, window_to
    int? n_filters, n_agree; number? r2, velocity_mm_per_day; bool trusted; message reasons; instant? withdrawn_at
    text(32) method = inverse_velocity  # or forecast: where its quantiles cross the failure velocity
    instant? onset_at; message? withdrawn_reason
    index ix_failure_time_series: series_id, issued_at""")

season = _table("""season  # trend, season and remainder of a series as the newest night found them: one row, replaced
    key big series_id; instant computed_at; text(8) grid; int period_rows, rows; instant? first_at, last_at
    message reason  # why there is no split; empty where there is one
    number? trend_strength, season_strength, season_range; json parameters; text code_version
    json components  # [[at, value, trend, season, remainder]] of each observed row
    text(8) method = ''  # empty without a split
    number? day_strength, day_range; json day_parts = []  # [[hour of the UTC day, season]], of MSTL
""")

movement = _table("""movement  # how a station moves, one row per update; append only
    key big id; big series_id; instant at; instant? data_until
    text(16) stage, trend  # the words of forecasting.kinematics.stages
    number? velocity_mm_per_day, velocity_error_mm_per_day, velocity_window_s, acceleration_mm_per_day2,
        acceleration_error_mm_per_day2, tangential_angle_deg, v_eq_mm_per_day, inverse_velocity_day_per_mm,
        probability; message reasons; json state  # what the next update needs: counters of the hysteresis
    unique uq_movement: series_id, at""")

# ---- anomalies and scenes --------------------------------------------------------------------------------------
anomaly = _table("""anomaly
    key big series_id; key instant at; key name detector; number score, threshold, budget; text kind; bool alerted
    name? model_hash; instant scored_at
    finite: score, threshold
    number? factor  # by which the counted threshold was raised from what people said; null = 1
    message? compared_with  # what the score was compared with, in words
""")
reading_gap = _table("""reading_gap
    # readings of a series that are missing between two that are there; one that was filled late says when
    key big series_id; key instant to_at, from_at; int missing; instant found_at; instant? filled_at""")
anomaly_budget = _table("""anomaly_budget
    # false alarms of a detector as measured, and the factor on its threshold; append only, the newest counts
    key big id; name site, detector; instant at, from_at; number sensor_months
    int reported, labelled, dismissed, known_cause; number? rate, rate_low, rate_high
    number budget, factor_before, factor; message reason; text by; text(16) by_kind
    json evidence  # what the factor was counted from: it can be counted again
    index ix_anomaly_budget_site: site, detector, id""")
model_proof = _table("""model_proof
    # whether a criterion that rests on a model may count for the level of its site; append only, the newest counts
    key big id; name site; text(16) kind; name subject; instant tested_at; text made_by, by; text(16) by_kind
    instant? rows_from, rows_until; int rows_tested; name weights, settings, config_sha256; bool passed
    message reasons; json result; instant valid_until
    index ix_model_proof_subject: site, kind, subject, tested_at""")
anomaly_label = _table("""anomaly_label
    # what a person said of the anomalies of a series in a time; append only, the newest counts
    key big id; big series_id; instant from_at, to_at; text(16) verdict; text(32) cause; text by, note; instant at
    index ix_anomaly_label_series: series_id, from_at""")
scene = _table("""scene
    key name scene_hash; name site; text(256) name; instant? acquired_at; text role, path; instant received_at
    text state  # waiting, done, failed, superseded
    message? error; number? valid_share; text? crs; number? pixel_area_m2; text? out_dir; json? run
    index ix_scene_site: site, acquired_at""")
scene_footprint = _table("""scene_footprint
    key name scene_hash, model_hash, polygon_id; text model; text class = landslide; text? parent_id
    text(16) change; number area_m2; number? grown_m2; number mean_probability; json geometry
    number min_lon, min_lat, max_lon, max_lat; text? nearest_station; number? distance_m; instant detected_at
    # what is known today of its change: the newest row of scene_change
    instant? since_at, first_seen_at; name? root_id, anchor_scene; message? caution
    json? near_stations  # [[station, metres], ...] within reach, nearest first
    number? susceptibility; name? susceptibility_map  # sha256 of the map that the mean is of
""")
scene_change = _table("""scene_change
    # every judgement on a footprint, so that what was known at an instant is found; append only
    key name scene_hash, model_hash, polygon_id; key instant judged_at; text(16) change; text? parent_id
    number? grown_m2; instant? since_at, first_seen_at; message? caution""")
footprint_review = _table("""footprint_review  # what a person said of a footprint; append only, the newest counts
    key big id; name scene_hash, model_hash, polygon_id; instant at
    text(16) verdict  # accept, reject, redraw
    text by; text? note; json? geometry
    index ix_footprint_review: scene_hash, model_hash, polygon_id""")

scene_outline = _table("""scene_outline
    # what people outlined on scenes; never overwritten, a correction is a row of its own
    key big id; name site, scene_hash; text(16) kind  # landslide, not_landslide, nothing
    json geometry; number area_m2
    name? from_model_hash, from_polygon_id  # the footprint that it corrects
    text note; instant at; text by; instant? withdrawn_at; text? withdrawn_by
    number? min_lon, min_lat, max_lon, max_lat  # the box around it
    index ix_scene_outline: site, scene_hash, min_lat, max_lat, min_lon, max_lon, at, withdrawn_at""")
scene_unsure = _table("""scene_unsure
    # tiles of a scene that a model is least sure of; each cause (detection, learning) makes its own anew
    key name scene_hash; key int tile; name site, model_hash; number min_lon, min_lat, max_lon, max_lat, doubt
    instant made_at; text(16) cause = detection
    index ix_scene_unsure: site, doubt""")

# ---- alerts ----------------------------------------------------------------------------------------------------
decision = _table("""decision  # frozen inputs of a level change: recomputable bit for bit
    key big id; name site; instant at; name code_version, config_sha256, evidence_sha256
    text evidence  # last: SQLite reads through it to what stands behind it""")
alert = _table("""alert
    key big id; name site; text(16) ledger; text(256) key; int level, peak_level; text(32) state; bool exercise
    instant raised_at; instant? data_time; message reason; big? decision_id -> decision; text rule_version
    instant? acknowledged_at; text? acknowledged_by; instant? closed_at
    index ix_alert_open: site, ledger, key
    index ix_alert_raised: site, raised_at
    # one open alert per key, enforced by the database
    unique index uq_alert_open: site, ledger, key where closed_at IS NULL""")
alert_event = _table("""alert_event
    key big id; big alert_id -> alert; int sequence; instant at; instant? data_time; text? from_state
    text to_state; int? from_level; int to_level; text actor, actor_kind; message reason; big? decision_id
    text? via; instant? until_at
    unique uq_alert_event: alert_id, sequence""")
alert_outcome = _table("""alert_outcome
    key big id; big alert_id -> alert; text(32) class; text by, note; instant at""")
photo = _table("""photo
    # of an alert or of a report; the pictures are written anew, without what the camera put beside them
    key big id; name site; big? alert_id -> alert; big? report_id; instant added_at; text by; text? via; text note
    name sha256; int width, height; text taken; number? latitude, longitude; text camera  # as the camera said
    bytes picture, small
    index ix_photo_site: site, added_at
    index ix_photo_alert: alert_id""")
notification = _table("""notification  # the outbox
    key big id; big alert_id -> alert; big event_id -> alert_event; name site; text(16) ledger; int level
    text level_name, recipient, channel; bool exercise; message subject; message body; text(16) state
    int attempts = 0; instant queued_at; instant? sent_at, confirmed_at, next_attempt_at; big? superseded_by
    message? last_error; text? lease_owner; instant? lease_until; text? confirmed_by, confirmed_via
    name idempotency_key unique; text? provider_id  # what the other side calls it
    text? provider_said; instant? received_at  # when the device had it
    int undelivered = 0  # so often it could not deliver what it had taken
    index ix_notification_due: state, next_attempt_at
    index ix_notification_alert: alert_id
    index ix_notification_provider: provider_id""")
reply_code = _table("""reply_code
    # by which the recipient of one message acknowledges its alert in a reply; of that number alone
    key big notification_id; big alert_id; text address, person, language, code; int level
    instant made_at, expires_at; instant? used_at
    index ix_reply_code_address: address, code""")
reply = _table("""reply  # what came back from a telephone, and what became of it
    key big id; instant at; text(16) way; text sender, text; text provider_id unique; text(16) outcome
    big? alert_id; text? person
    index ix_reply_sender: sender, at""")
push_subscription = _table("""push_subscription
    # a browser that takes messages for a person; in no view and no published copy
    key big id; name user_name; name endpoint_sha256 unique; text endpoint, p256dh, auth, device; instant added_at
    instant? sent_at, ended_at; message? ended_why
    index ix_push_subscription_user: user_name""")
siren_order = _table("""siren_order  # orders to sirens and signs, and what they answered
    key big id; text topic; big sequence; big? notification_id; name site; text(8) wanted  # on, off, test
    int level; text level_name; bool exercise; instant ordered_at, sent_at, valid_until; int times
    instant? confirmed_at; text? confirmed_by, said
    unique uq_siren_order: topic, sequence""")
channel_test = _table("""channel_test  # whether a channel works: an exercise message to the target of its test
    key big id; text channel, target; instant at; bool good; text found; text? provider_id; instant? received_at
    index ix_channel_test_channel: channel, at""")

# ---- who is on duty ----------------------------------------------------------------------------------------------
duty_rota = _table("""duty_rota  # append only: the plan of a team from an instant on, until a later one begins
    key big id; name site, team; instant valid_from; text(10) begins  # the Monday of its first week
    text zone, plan, by, reason; instant added_at
    index ix_duty_rota_team: site, team""")
duty_override = _table("""duty_override  # for a time somebody takes the place of somebody else
    key big id; name site, team; instant from_at, to_at; text? person_out, person_in; text by, reason
    instant added_at; instant? withdrawn_at; text? withdrawn_by
    index ix_duty_override_team: site, team, to_at""")
duty_turn = _table("""duty_turn  # who is on duty, day by day: the past stays, what is to come is laid out anew
    key name site, team; key instant from_at; instant to_at; text(10) day  # of the site's clock
    text? person, second_person  # empty = nobody: the whole team is notified
""")
duty_handover = _table("""duty_handover  # who gave the watch to whom, with what was open then
    key big id; name site, team; instant? since_at; instant at; text outgoing, notes; json open_items
    instant? signed_at; text? incoming, remark; instant? withdrawn_at; text? withdrawn_by
    index ix_duty_handover_team: site, team, at""")

digest = _table("""digest  # the daily digest of a site to one recipient: one row a local day
    key name site; key text(256) recipient; key text(10) day; text channel; instant at; text(8) state
    int attempts; message? error""")

# ---- change control and exercises ----------------------------------------------------------------------------------
maintenance = _table("""maintenance  # work on a station: its votes are pended up to a level, for a time
    key big id; name site, station; instant from_at, to_at; text by; text? second_by; text reason
    instant added_at; instant? ended_at; text? ended_by
    index ix_maintenance_site: site, to_at""")
site_proposal = _table("""site_proposal  # a site file that waits for somebody to approve it
    key big id; name site, sha256; name? base_sha256; text source; text author, reason; instant proposed_at
    text(16) state  # proposed, approved, rejected, superseded
    json? effect, differences; bool loosens_high; text? approved_by, second_by; instant? decided_at
    message? decision_reason
    index ix_site_proposal_site: site, state""")
drill = _table("""drill  # an exercise: a recorded or simulated failure up to the channels, apart from the real state
    key big id; name site; instant started_at; instant? ended_at; text by, scenario, state; json? outcome""")

# ---- people, audit, service ------------------------------------------------------------------------------------
user_account = _table("""user_account
    key name name; text password_hash; text(16) role  # viewer, operator, admin
    instant created_at; instant? disabled_at
    json? sites  # the only ones it may act on, and read where reading takes a login; empty = all
    name? os_user  # this user of the operating system is that person, at a command
    text? oidc_issuer, oidc_subject  # this person of that provider comes in as this account
    unique index ix_user_account_os_user: os_user
    unique index ix_user_account_oidc: oidc_issuer, oidc_subject""")
first_signature = _table("""first_signature
    # the word of one person for an act that takes two; the act is done with the second one
    key big id; name act; text subject, terms; int height; text by, reason; instant signed_at; instant? used_at
    text? used_by; instant? withdrawn_at; text? withdrawn_by
    index ix_first_signature_act: act, subject""")
second_factor = _table("""second_factor  # in no view and no published copy
    key name user_name; text secret  # sealed by monitor.config.sealed_texts
    instant created_at; int last_step  # no code counts twice
    instant? pending_since  # made on the page, and no code of it was seen yet: it asks for nothing
""")
recovery_code = _table("""recovery_code  # each lets in once when the telephone is lost; hashes of 80 random bits
    key name code_sha256; name user_name; instant created_at; instant? used_at
    index ix_recovery_code_user: user_name""")
api_token = _table("""api_token  # by which a program reads and acts in the name of an account
    key big id; name user_name, label; text(16) scope  # read, act, admin
    json? sites  # empty = all sites of the account
    name token_sha256 unique; instant created_at, expires_at; instant? revoked_at""")
web_session = _table("""web_session
    key name token_sha256; name user_name; instant created_at, expires_at, seen_at""")
password_guess = _table("""password_guess
    # wrong passwords at the command line since the last right one: the next answer waits
    key name user_name; key text(128) os_user; int failures; instant next_at""")
known_device = _table("""known_device
    # where an account logged in before: guesses from elsewhere do not slow it down there
    key name token_sha256, user_name; instant used_at""")
audit_entry = _table("""audit_entry
    key big id; instant at; text actor, actor_kind, action, subject, detail; name previous_hash; name hash unique
    index ix_audit_entry_action: action, subject""")
service_state = _table("""service_state
    # what other processes need to know of this one: progress stamps, session, broker
    key text(128) name; instant at; json detail""")
# one row per source of files, watched folders too; and one per file of it that was taken
source_poll = _table("""source_poll
    key text(80) source; name site; text kind; instant polled_at; instant? success_at; instant since_at
    message? error; instant? error_since; int failures; instant next_at; int rows_new; big rows_all; text? address
    instant? new_at""")
source_file = _table("""source_file
    key text(80) source; key text(500) name; text(300) etag, modified; big size; name sha256; instant taken_at
    message? reason  # why this version was not taken; empty = it is stored
""")
job_run = _table("""job_run
    key big id; name job; name? site; instant started_at; instant? finished_at
    text(16) state  # running, done, failed, killed, missed
    text? detail
    index ix_job_run_started: job, started_at""")

# ---- the service itself ----------------------------------------------------------------------------------------
observation_summary = _table("""observation_summary
    # what retention left of readings it let go: one row for each hour or day
    key big series_id; key instant starts_at; key int span_s
    key instant made_at  # readings that came later are a row more
    number? median, minimum, maximum, mean  # of readings without a flag; raw
    int count, flagged""")
retention_run = _table("""retention_run  # append only: what a run of retention did to one table or quantity
    key big id; instant at; text what; instant? before_at; big removed, summaries
    number seconds, longest_ms  # of its transactions
""")
issued_report = _table("""issued_report  # bulletins and shift reports, each with what it said; the rows are sealed
    key big id; name site; text(16) kind; instant from_at, to_at, made_at; text(8) language; name facts_sha256
    text code_version; text facts  # all that it says, canonical JSON: what the digest is of
    unique uq_issued_report: site, kind, language, to_at""")
report_mail = _table("""report_mail
    key big id; big report_id -> issued_report; text channel; text(8) form; text(16) state; int attempts
    instant queued_at; instant? sent_at, next_attempt_at; text? last_error; name idempotency_key unique
    index ix_report_mail_due: state, next_attempt_at""")
backup_run = _table("""backup_run  # append only: a copy that was made, or why there is none
    key big id; instant at; text file; text state  # proven, made, failed
    number seconds; big? bytes, rows  # of all tables, counted in the restored copy
    text? audit_head; text detail""")
service_check = _table("""service_check  # how what the service stands on does: one row a subject, replaced
    key name name; text(8) state; instant since, checked_at; number? value; text(16)? unit; message found
    message remedy""")
outage = _table("""outage  # a time in which readings did not come in, until what had waited was read
    key big id; text cause; instant from_at, back_at, drained_at; instant? counted_at; instant counts_until""")
outage_station = _table("""outage_station
    # what became of the readings of an outage; counted again while late ones may come
    key big outage_id -> outage; key name site; key name station
    int? expected  # epochs, by the cadence of the station; empty = it has none
    int received, late; int? missing; instant? last_late_at""")
