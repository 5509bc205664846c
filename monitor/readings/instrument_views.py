"""Public views on the condition of instruments."""

from typing import TypedDict

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata


class StationHealthRow(TypedDict):
    """A row of `station_health`."""

    site: str
    station: str
    state: str | None
    since: str | None
    reason: str | None
    newest_at: str | None


class InstrumentRow(TypedDict):
    """A row of `instrument_health`."""

    site: str
    instrument: str
    state: str
    since: str | None
    reason: str
    action: str
    votes: bool
    parent_alert_id: int | None
    base: str | None
    logger: str | None
    gateway: str | None
    power: str | None
    newest_at: str | None
    battery_v: float | None
    battery_percent: float | None
    battery_empty_at: str | None
    battery_method: str
    calibrated_on: str | None
    calibration_age_days: int | None
    calibration_due_on: str | None
    spark_of: str | None
    spark: str | None
    judged_at: str | None


class FindingRow(TypedDict):
    """A row of `instrument_findings`."""

    site: str
    instrument: str
    state: str
    since: str
    reason: str
    action: str


class AvailabilityRow(TypedDict):
    """A row of `instrument_availability`."""

    site: str
    instrument: str
    month: str
    expected: int
    availability: float


station_health = Table(
    "station_health",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("state", Text, comment="state of the station, for example `ok` or `silent`"),
    Column("since", Text, comment="since when the station has this state", info={"unit": "time"}),
    Column("reason", Text, comment="reason, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("newest_at", Text, comment="newest epoch of the station", info={"unit": "time"}),
    Column("expected_interval_s", Double, comment="shortest declared interval of its series", info={"unit": "s"}),
    Column(
        "missing_share_24h",
        Double,
        comment="share of the expected epochs missing in the 24 h before the evaluation",
        info={"unit": "1"},
    ),
    Column("votes", Boolean, comment="whether votes of the station count"),
    comment="One row for each station that is declared or has readings; state null = never evaluated.",
    info={"question": "Which instruments need something?", "row": StationHealthRow},
)

instrument_health = Table(
    "instrument_health",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("instrument", Text, comment="station id"),
    Column(
        "state",
        Text,
        comment=(
            "ok, unknown, or the most serious of maintenance, stale, offline, unusable, stuck, offset, clock, "
            "battery, solar, snow_ice, fix, satellites, signal, drift, suspected, calibration"
        ),
    ),
    Column("since", Text, comment="since when the station has this state", info={"unit": "time"}),
    Column("reason", Text, comment="reason, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("action", Text, comment="what to do, if the job `instruments` found a fault"),
    Column("action_id", Text, comment="id of the message in `action`"),
    Column("action_values", Text, comment="values of that message, JSON"),
    Column("votes", Boolean, comment="whether votes of the station count; null = never evaluated"),
    Column(
        "parent_alert_id", BigInteger, comment="alert about this station and others that are silent for the same reason"
    ),
    Column("base", Text, comment="`reference` of the site file"),
    Column("logger", Text, comment="logger"),
    Column("gateway", Text, comment="gateway"),
    Column("power", Text, comment="power supply"),
    Column("newest_at", Text, comment="newest epoch of the station", info={"unit": "time"}),
    Column(
        "missing_share_24h",
        Double,
        comment="share of the expected epochs missing in the 24 h before the evaluation",
        info={"unit": "1"},
    ),
    Column("battery_v", Double, comment="mean voltage of the newest hour", info={"unit": "V"}),
    Column(
        "battery_percent",
        Double,
        comment=(
            "newest battery level that the device reports (`battery_level`), declared or not; null if it is "
            "out of range"
        ),
        info={"unit": "%"},
    ),
    Column("battery_at", Text, comment="end of this hour", info={"unit": "time"}),
    Column(
        "battery_empty_at",
        Text,
        comment="when the battery is expected to be empty; null = unknown",
        info={"unit": "time"},
    ),
    Column("battery_method", Text, comment="how it was computed, from voltages or from levels, or why it is unknown"),
    Column("battery_method_id", Text, comment="id of the message in `battery_method`"),
    Column("battery_method_values", Text, comment="values of that message, JSON"),
    Column("calibrated_on", Text, comment="day of the last calibration"),
    Column("calibration_age_days", Integer, comment="from this day to the last run of the job", info={"unit": "d"}),
    Column("calibration_due_on", Text, comment="day on which the next calibration is due"),
    Column("spark_of", Text, comment="quantity of the sparkline (small chart)"),
    Column(
        "spark",
        Text,
        comment="JSON: means of spans of 4 h, or of the interval if it is longer, over 7 days; null = no readings",
    ),
    Column("judged_at", Text, comment="last run of the job", info={"unit": "time"}),
    comment=(
        "One row for each declared station: its state in decisions, and the findings of the job `instruments`, which "
        "runs every 15 minutes. Nothing in this view changes a level."
    ),
    info={"question": "Which instruments need something?", "row": InstrumentRow},
)

instrument_findings = Table(
    "instrument_findings",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("instrument", Text, comment="station id"),
    Column("state", Text, comment="as in `instrument_health`"),
    Column("since", Text, comment="since when the fault exists", info={"unit": "time"}),
    Column("reason", Text, comment="reason"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("action", Text, comment="what to do"),
    Column("action_id", Text, comment="id of the message in `action`"),
    Column("action_values", Text, comment="values of that message, JSON"),
    comment="All open findings of the job `instruments`. `instrument_health` shows the most serious of each station.",
    info={"question": "Which instruments need something?", "row": FindingRow},
)

instrument_availability = Table(
    "instrument_availability",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("instrument", Text, comment="station id"),
    Column("month", Text, comment="`2026-03`, UTC"),
    Column("expected", Integer, comment="number of epochs of all its series, by the declared intervals"),
    Column("received", Integer, comment="number of epochs that arrived, at most the expected number"),
    Column("availability", Double, comment="received / expected", info={"unit": "1"}),
    comment="Share of the epochs of a month that arrived. The present month counts up to the last run of the job.",
    info={"question": "Which instruments need something?", "row": AvailabilityRow},
)


def select_views(dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    health = """h.state, h.since, h.reason, h.reason_id, h.reason_values, h.newest_at, h.expected_interval_s,
  h.missing_share_24h, h.votes"""
    # The state from decisions takes precedence over findings of the job. Maintenance takes precedence over both.
    shown = "CASE WHEN f.state = 'maintenance' OR coalesce(h.state, 'ok') = 'ok' THEN f.{0} ELSE h.{0} END"
    either = (
        shown.replace(" THEN f.{0}", " AND f.reason IS NOT NULL THEN f.{0}")
        .replace("CASE WHEN ", "CASE WHEN (")
        .replace(" AND f.reason", ") AND f.reason")
    )
    action = shown.replace("h.{0} END", "NULL END")
    state = "CASE h.state WHEN 'silent' THEN 'stale' WHEN 'flagged' THEN 'unusable' WHEN 'verify' THEN 'offset' ELSE h.state END"
    keys = ", ".join(
        f"'health:{kind}:' || k.{column} || ':stale'"
        for kind, column in (
            ("station", "id"),
            ("logger", "logger"),
            ("base", "reference"),
            ("gateway", "gateway"),
            ("power", "power"),
        )
    )
    return {
        # The second part lists stations that have a state but are no longer in the site file.
        "station_health": f"""SELECT k.site AS site, k.id AS station, {health}
FROM station k LEFT JOIN station_state h ON h.site = k.site AND h.station = k.id
UNION ALL SELECT h.site, h.station, {health} FROM station_state h
WHERE NOT EXISTS (SELECT 1 FROM station k WHERE k.site = h.site AND k.id = h.station)""",
        "instrument_health": f"""SELECT k.site, k.id AS instrument,
  CASE WHEN f.state = 'maintenance' OR coalesce(h.state, 'ok') = 'ok' AND f.state IS NOT NULL THEN f.state
    ELSE coalesce({state}, 'unknown') END AS state,
  coalesce({shown.format("since")}, h.since) AS since, coalesce({shown.format("reason")}, h.reason, '') AS reason,
  {either.format("reason_id")} AS reason_id, {either.format("reason_values")} AS reason_values,
  coalesce({action.format("action")}, '') AS action, {action.format("action_id")} AS action_id,
  {action.format("action_values")} AS action_values, h.votes,
  (SELECT max(a.id) FROM alert a WHERE a.site = k.site AND a.ledger = 'health' AND a.closed_at IS NULL
    AND a.state <> 'returned_unacknowledged' AND h.state = 'silent' AND a.key IN ({keys})) AS parent_alert_id,
  k.reference AS base, k.logger, k.gateway, k.power, h.newest_at, h.missing_share_24h, i.battery_v,
  (SELECT l.value_raw FROM series s JOIN series_latest l ON l.series_id = s.id
    WHERE s.site = k.site AND s.station = k.id AND s.quantity = 'battery_level' AND l.flags IN ('', 'undeclared')) AS battery_percent, i.battery_at,
  i.battery_empty_at, i.battery_method, i.battery_method_id, i.battery_method_values, i.calibrated_on,
  {dialect.days_between("i.calibrated_on", "i.judged_at")} AS calibration_age_days, i.calibration_due_on, i.spark_of, i.spark, i.judged_at
FROM station k LEFT JOIN station_state h ON h.site = k.site AND h.station = k.id
LEFT JOIN instrument i ON i.site = k.site AND i.station = k.id
LEFT JOIN instrument_finding f ON f.site = k.site AND f.station = k.id AND f.rank =
  (SELECT min(b.rank) FROM instrument_finding b WHERE b.site = k.site AND b.station = k.id)
WHERE k.declared""",
        "instrument_findings": """SELECT site, station AS instrument, state, since, reason, reason_id, reason_values, action, action_id, action_values
FROM instrument_finding""",
        "instrument_availability": f"""SELECT site, station AS instrument, month, expected, received,
  {dialect.rounded("CAST(received AS double precision) / expected", 6)} AS availability
FROM instrument_month WHERE expected > 0""",
    }
