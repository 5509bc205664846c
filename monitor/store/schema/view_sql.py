"""The SELECT statement of every public view. Users rely on their names and columns; see docs/reference/sql.md.

No column depends on the clock. No view reads the observation history with a window function. Sums and means are rounded,
so that the order of addition makes no difference. Expressions that differ between the databases are in `Dialect`.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Dialect:
    """Expressions that SQLite and PostgreSQL write differently."""

    sqlite: bool

    def rounded(self, number: str, places: int) -> str:
        """Round a double to decimal places. The result is never negative zero."""
        if self.sqlite:
            return f"(round({number}, {places}) + 0.0)"
        return f"(CAST(round(CAST({number} AS numeric), {places}) AS double precision) + 0.0)"

    def level_name(self, levels: str, level: str) -> str:
        """Look up the name of a level in the JSON list of a site's levels."""
        if self.sqlite:
            return f"json_extract({levels}, '$[' || {level} || '].name')"
        return f"(CAST({levels} AS jsonb) -> {level} ->> 'name')"

    def days_between(self, day: str, instant: str) -> str:
        """Count the days from a day to the day of an instant."""
        if self.sqlite:
            return f"CAST(julianday(substr({instant}, 1, 10)) - julianday({day}) AS integer)"
        return f"(CAST(substr({instant}, 1, 10) AS date) - CAST({day} AS date))"

    def seconds_between(self, earlier: str, later: str) -> str:
        """Count the whole seconds from one instant to another."""
        if self.sqlite:
            return f"CAST(round((julianday({later}) - julianday({earlier})) * 86400) AS integer)"
        return (
            f"CAST(round(extract(epoch FROM CAST({later} AS timestamptz) - CAST({earlier} AS timestamptz))) AS bigint)"
        )

    def before(self, text: str, sign: str) -> str:
        """Return the part of a text before a character, or the whole text if the character does not occur."""
        if self.sqlite:
            return f"substr({text}, 1, instr({text} || '{sign}', '{sign}') - 1)"
        return f"split_part({text}, '{sign}', 1)"

    def hexadecimal(self, octets: str) -> str:
        """Format bytes as lower-case hexadecimal text."""
        return f"lower(hex({octets}))" if self.sqlite else f"encode({octets}, 'hex')"

    def joined(self, column: str) -> str:
        """Join the texts of a column with commas; order the rows in a subquery."""
        return (
            f"group_concat({column}, ', ')"
            if self.sqlite
            else f"string_agg({column}, ', ' ORDER BY {column} COLLATE \"C\")"
        )

    def flags(self, row: str) -> str:
        """Combine the flags that a revision arrived with and later ones. The newest entry of a flag decides."""
        key = f"series_id = {row}.series_id AND observed_at = {row}.observed_at AND revision = {row}.revision"
        if self.sqlite:
            joined = "group_concat(flag, ',')"
            arrival = f"SELECT value AS flag FROM json_each('[\"' || replace({row}.flags, ',', '\",\"') || '\"]')"
        else:
            joined = "string_agg(flag, ',' ORDER BY flag COLLATE \"C\")"
            arrival = f"SELECT unnest(string_to_array({row}.flags, ',')) AS flag"
        return f"""CASE WHEN NOT EXISTS (SELECT 1 FROM observation_flag WHERE {key}) THEN {row}.flags ELSE (
  SELECT coalesce({joined}, '') FROM (SELECT flag FROM (
    SELECT a.flag AS flag, 0 AS set_by, -1 AS withdrawn_by FROM ({arrival}) a WHERE a.flag <> ''
    UNION ALL
    SELECT CASE WHEN substr(flag, 1, 1) = '-' THEN substr(flag, 2) ELSE flag END,
      CASE WHEN substr(flag, 1, 1) = '-' THEN -1 ELSE id END, CASE WHEN substr(flag, 1, 1) = '-' THEN id ELSE -1 END
    FROM observation_flag WHERE {key}
  ) every_word GROUP BY flag HAVING max(set_by) > max(withdrawn_by) ORDER BY flag) standing) END"""

    def rows_of(self, column: str) -> str:
        """Join a JSON list of lists; each inner list becomes a row `row_of`."""
        if self.sqlite:
            return f"JOIN json_each({column}) row_of"
        return f"CROSS JOIN LATERAL jsonb_array_elements(CAST({column} AS jsonb)) AS row_of(value)"

    def item(self, index: int) -> str:
        """Return one value of the inner list `row_of`."""
        return f"json_extract(row_of.value, '$[{index}]')" if self.sqlite else f"(row_of.value ->> {index})"

    def entry(self, column: str, key: str) -> str:
        """Return the value of a key of a JSON object, as an argument for `rows_of`."""
        return f"json_extract({column}, '$.{key}')" if self.sqlite else f"(CAST({column} AS jsonb) -> '{key}')"

    def number(self, index: int) -> str:
        """Return one value of the inner list `row_of` as a double."""
        return f"CAST({self.item(index)} AS double precision)"

    def newest_issues(self) -> str:
        """Join `series s` with the rows `f` of the newest issue of each model.

        A recursive query finds the models of a series one after the other by index seeks, without a scan of all
        forecasts. On PostgreSQL, `OFFSET 0` prevents a plan that reads them all, because the planner assumes that every
        series has the average number of forecasts. SQLite would choose the covering index, so the index is named.
        """
        models = """WITH RECURSIVE m(model) AS (
    SELECT (SELECT min(g.model) FROM forecast g WHERE g.series_id = s.id)
    UNION ALL
    SELECT (SELECT min(g.model) FROM forecast g WHERE g.series_id = s.id AND g.model > m.model)
    FROM m WHERE m.model IS NOT NULL)"""
        last = "(SELECT max(g.issued_at) FROM forecast g WHERE g.series_id = s.id AND g.model = m.model AND NOT g.hindcast)"
        mine = "n.series_id = s.id AND n.model = m.model AND NOT n.hindcast AND n.issued_at"
        if self.sqlite:
            return f"""CROSS JOIN forecast f ON f.id IN ({models}
  SELECT n.id FROM m JOIN forecast n INDEXED BY ix_forecast_series_model ON {mine} = {last} WHERE m.model IS NOT NULL)"""
        return f"""CROSS JOIN LATERAL ({models}
  SELECT k.* FROM m CROSS JOIN LATERAL (SELECT n.* FROM forecast n WHERE {mine} = {last} OFFSET 0) k) f"""


_SERIES: Final = "s.site AS site, s.station AS station, s.quantity AS quantity"
_FORECAST: Final = f"""{_SERIES}, s.unit AS unit, f.issued_at, f.data_until, f.as_of_received_at, f.target_at, f.horizon_s,
  f.q025, f.q10, f.q50, f.q90, f.q975, f.model, f.model_hash, f.baseline, f.baseline_q50, f.data_value, f.shown,
  f.reason, f.reason_id, f.reason_values,
  f.stage"""
_EXPERIENCE: Final = "f.novelty, f.replaces, f.weight, f.hindcast"


def view_sql(*, sqlite: bool) -> dict[str, str]:
    """Return the SELECT statement of every view by name, for SQLite or for PostgreSQL."""
    d = Dialect(sqlite)
    return {
        **_observation_views(d),
        **_profile_views(d),
        **_forecast_views(d),
        **_state_views(d),
        **_alert_views(d),
        **_finding_views(d),
        **_record_views(),
    }


def _observation_views(d: Dialect) -> dict[str, str]:
    def columns(row: str) -> str:
        applied = f"""coalesce({
            d.rounded(
                f'''(SELECT sum(o.size) FROM offset_entry o
    WHERE o.series_id = {row}.series_id AND o.at <= {row}.observed_at AND o.revoked_at IS NULL)''',
                9,
            )
        }, 0.0)"""
        return f"""SELECT {_SERIES}, s.unit AS unit, {row}.observed_at, {row}.received_at,
  {row}.value_raw - {applied} AS value, {row}.value_raw, {applied} AS offset_applied, {row}.sigma,
  {d.flags(row)} AS flags, {row}.revision, {row}.solution
FROM series s JOIN"""

    return {
        "latest_observation": f"{columns('l')} series_latest l ON l.series_id = s.id",
        "observation_history": f"{columns('l')} observation l ON l.series_id = s.id",
        "offsets": f"""SELECT e.id AS offset_id, {_SERIES}, e.unit, e.at, e.known_from, e.size, e.kind, e.author, e.reason,
  e.confirmed_at, e.confirmed_by, e.revoked_at, e.revoked_by
FROM offset_entry e JOIN series s ON s.id = e.series_id""",
    }


def _profile_views(d: Dialect) -> dict[str, str]:
    """Return the views on depth profiles. The whole profile is stored with the reading of the series `depth_count`."""
    of_rows = (
        "depth_m displacement_mm displacement_b_mm rate_mm_per_day rate_b_mm_per_day checksum_mm reading reading_change"
    )
    of_slip = "slip_depth_m slip_depth_low_m slip_depth_high_m displacement_mm rate_mm_per_day rate_sigma_mm_per_day"

    def select(names: str, key: str, *, newest: bool = False, more: str = "") -> str:
        mine = "o.series_id = s.id AND o.observed_at ="
        last = f"JOIN series_latest l ON l.series_id = s.id JOIN observation o ON {mine} l.observed_at"
        revision = (
            "SELECT max(n.revision) FROM observation n WHERE n.series_id = s.id AND n.observed_at = o.observed_at"
        )
        return f"""SELECT s.site AS site, s.station AS station, o.observed_at, o.received_at,
  {", ".join(f"{d.number(index)} AS {name}" for index, name in enumerate(names.split()))}{more}
FROM series s {last if newest else "JOIN observation o ON o.series_id = s.id"}
{d.rows_of(d.entry("o.extra", key))} WHERE s.quantity = 'depth_count' AND o.revision = ({revision})"""

    reason = "".join(f", {d.item(6 + i)} AS reason{end}" for i, end in enumerate(("", "_id", "_values")))
    return {
        "profile_latest": select(of_rows, "rows", newest=True),
        "profile_history": select(of_rows, "rows"),
        "slip_depth": select(of_slip, "slip", more=reason),
    }


def _forecast_views(d: Dialect) -> dict[str, str]:
    scored = "FROM series s JOIN forecast f ON f.series_id = s.id JOIN forecast_score c ON c.forecast_id = f.id"
    months = "FROM series s JOIN forecast_month g ON g.series_id = s.id"
    group = f"{_SERIES}, g.model AS model, g.horizon_s AS horizon_s, g.month AS month, g.hindcast AS hindcast"
    by = "GROUP BY s.site, s.station, s.quantity, g.model, g.horizon_s, g.month, g.hindcast"
    count = "sum(g.n) AS n"

    def mean(sums: str, of: str = "n") -> str:
        return d.rounded(f"CAST(sum(g.{sums}) AS double precision) / nullif(sum(g.{of}), 0)", 6)

    skill = f"""CASE WHEN sum(g.baseline_error) > 0
    THEN {d.rounded("1 - (sum(g.error) / sum(g.n)) / (sum(g.baseline_error) / sum(g.n))", 6)} END AS skill"""

    return {
        # A kinematic forecast is valid only until the next issue of the series, so an older one is left out.
        "latest_forecast": f"""SELECT {_FORECAST}, {_EXPERIENCE} FROM series s {d.newest_issues()}
  WHERE f.model <> 'kinematic' OR f.issued_at = (SELECT max(g.issued_at) FROM forecast g WHERE g.series_id = s.id AND NOT g.hindcast)""",
        "forecast_history": f"SELECT {_FORECAST}, {_EXPERIENCE} FROM series s JOIN forecast f ON f.series_id = s.id",
        "forecast_vs_observed": f"""SELECT {_FORECAST}, c.observed_at, c.observed, c.error, c.baseline_error, c.persistence_error,
  c.inside_80, c.inside_95, c.pinball, c.winkler_80, c.scored_at, c.crps, c.pit, c.situation, f.weight, f.hindcast {scored}""",
        "why_not_shown": f"""SELECT {_SERIES}, w.model, w.horizon_s, w.issued_at, w.reason, w.reason_id, w.reason_values,
  w.lacking, w.lacking_id, w.lacking_values, w.earliest_at
FROM series s JOIN forecast_withheld w ON w.series_id = s.id
WHERE w.issued_at = (SELECT max(k.issued_at) FROM forecast_withheld k WHERE k.series_id = s.id)
  AND w.issued_at >= coalesce((SELECT max(f.issued_at) FROM forecast f WHERE f.series_id = s.id AND NOT f.hindcast), '')
  AND w.id = (SELECT min(k.id) FROM forecast_withheld k
    WHERE k.series_id = s.id AND k.issued_at = w.issued_at AND k.model = w.model)""",
        "forecast_skill": f"""SELECT {group}, {count}, {mean("error")} AS mae, {mean("persistence_error")} AS mae_persistence,
  {mean("baseline_error")} AS mae_best_baseline, {skill} {months} {by}""",
        "forecast_skill_by_stage": f"""SELECT {group}, nullif(g.stage, '') AS stage, {count}, {mean("error")} AS mae,
  {mean("baseline_error")} AS mae_best_baseline, {skill},
  {mean("inside_80")} AS covered_80, {mean("inside_95")} AS covered_95 {months} {by}, g.stage""",
        "forecast_scores": f"""SELECT {group}, nullif(g.situation, '') AS situation, {count}, {mean("error")} AS mae,
  {mean("persistence_error")} AS mae_persistence, {mean("pinball")} AS pinball, {mean("crps", "crps_n")} AS crps,
  {mean("winkler_80")} AS interval_score_80, {mean("inside_80")} AS covered_80, {mean("inside_95")} AS covered_95,
  {mean("pit_below_10", "pit_n")} AS pit_below_10, {mean("pit_above_90", "pit_n")} AS pit_above_90 {months} {by}, g.situation""",
        "forecast_coverage_rolling": f"""SELECT {_SERIES}, f.model AS model, f.horizon_s AS horizon_s, f.target_at, f.issued_at, f.shown, f.hindcast,
  {", ".join(f"{d.rounded(f'CAST(c.rolled_{k} AS double precision) / c.rolled', 6)} AS covered_{k}" for k in (80, 95))}, c.rolled AS n
{scored}""",
        "forecast_coverage": f"""SELECT m.site, m.station, m.quantity, m.model, m.horizon_s, m.month, m.hindcast, k.nominal,
  CASE WHEN k.nominal < 0.9 THEN m.covered_80 ELSE m.covered_95 END AS covered,
  CASE WHEN k.nominal < 0.9 THEN m.width_80 ELSE m.width_95 END AS width, m.n
FROM (SELECT {group}, {count}, {mean("inside_80")} AS covered_80, {mean("inside_95")} AS covered_95,
  {mean("width_80")} AS width_80, {mean("width_95")} AS width_95 {months} {by}) m CROSS JOIN
  (SELECT CAST(0.8 AS double precision) AS nominal UNION ALL SELECT CAST(0.95 AS double precision)) k""",
        "model_gates": """SELECT m.site, m.kind AS model, m.model_hash, m.state AS model_state, g.horizon_s, g.state, g.since,
  g.reason, g.reason_id, g.reason_values,
  g.issues, g.mae, g.baseline_mae AS mae_best_baseline, g.skill, g.coverage_80 AS covered_80, g.worst_80 AS worst_covered_80,
  g.worst_station, g.coverage_95 AS covered_95, g.crps, g.baseline_crps AS crps_auto, g.counts_from, g.judged_at,
  g.lacking, g.lacking_id, g.lacking_values, g.earliest_at
FROM model m JOIN model_gate g ON g.model_hash = m.model_hash""",
        "model_transitions": """SELECT id AS transition_id, at, task, site, kind AS model, model_hash, horizon_s, from_state, to_state,
  reason, reason_id, reason_values, "by", by_kind, second_by FROM model_transition""",
        "failure_windows": f"""SELECT {_SERIES}, w.issued_at, w.data_until, w.window_from, w.window_mid, w.window_to, w.trusted,
  w.reasons, w.reasons_id, w.reasons_values, w.velocity_mm_per_day, w.r2, w.n_filters, w.n_agree, w.withdrawn_at, w.withdrawn_reason,
  w.withdrawn_reason_id, w.withdrawn_reason_values,
  w.method, w.onset_at
FROM failure_time w JOIN series s ON s.id = w.series_id""",
        "series_seasons": f"""SELECT {_SERIES}, s.unit AS unit, n.computed_at, n.grid, n.period_rows, n.rows AS grid_rows, n.first_at,
  n.last_at, n.reason, n.reason_id, n.reason_values, n.method, n.trend_strength, n.season_strength, n.season_range, n.day_strength, n.day_range,
  n.parameters, n.code_version
FROM season n JOIN series s ON s.id = n.series_id""",
        "season_hours": f"""SELECT {_SERIES}, s.unit AS unit, CAST({d.item(0)} AS integer) AS hour_utc,
  CAST({d.item(1)} AS double precision) AS season
FROM season n JOIN series s ON s.id = n.series_id {d.rows_of("n.day_parts")}""",
        "season_components": f"""SELECT {_SERIES}, s.unit AS unit, n.grid, {d.item(0)} AS at,
  {", ".join(f"CAST({d.item(k)} AS double precision) AS {name}" for k, name in enumerate(("value", "trend", "season", "remainder"), 1))}
FROM season n JOIN series s ON s.id = n.series_id {d.rows_of("n.components")}""",
        "movement_history": f"""SELECT {_SERIES}, m.at, m.data_until, m.stage, m.trend, m.probability, m.velocity_mm_per_day,
  m.velocity_error_mm_per_day, m.velocity_window_s, m.acceleration_mm_per_day2, m.acceleration_error_mm_per_day2, m.tangential_angle_deg, m.v_eq_mm_per_day,
  m.inverse_velocity_day_per_mm, m.reasons, m.reasons_id, m.reasons_values
FROM movement m JOIN series s ON s.id = m.series_id""",
    }


def _state_views(d: Dialect) -> dict[str, str]:
    open_alerts = "SELECT count(*) FROM alert a WHERE a.site = p.id AND a.closed_at IS NULL AND NOT a.exercise"
    health = """h.state, h.since, h.reason, h.reason_id, h.reason_values, h.newest_at, h.expected_interval_s,
  h.missing_share_24h, h.votes"""
    # `[[relative]]` of a site file makes a station STATION-rel of each station that it measures against a reference.
    measured = "substr(k.id, 1, length(k.id) - 4)"
    relative_to = f"""SELECT {d.joined("r.reference")} FROM (SELECT DISTINCT k.reference FROM station k
  WHERE k.site = p.id AND k.declared AND k.reference IS NOT NULL AND substr(k.id, length(k.id) - 3) = '-rel'
    AND EXISTS (SELECT 1 FROM station m WHERE m.site = k.site AND m.id = {measured}) ORDER BY k.reference) r"""
    return {
        "site_status": f"""SELECT p.id AS site, t.level, {d.level_name("p.levels", "t.level")} AS level_name, t.level_source, t.since,
  t.evaluated_at, t.observability, t.reachable_level, t.witnesses_available, t.health, t.movement_stage, t.trend, t.newest_at, t.catching_up,
  ({open_alerts}) AS active_alerts,
  ({open_alerts} AND a.ledger <> 'advice' AND a.state IN ('unacknowledged', 'returned_unacknowledged')) AS unacknowledged,
  coalesce(t.config_sha256, p.config_sha256) AS config_version, ({relative_to}) AS relative_to
FROM site p LEFT JOIN site_state t ON t.site = p.id WHERE p.active""",
        "forecast_chances": f"""SELECT c.site, c.criterion, c.station, c.level, {d.level_name("p.levels", "c.level")} AS level_name,
  c.over_mm_per_day, c.window_s AS horizon_s, c.chance_from, c.chance_to, c.probability, c.crossed, c.model, c.data_until, c.evaluated_at
FROM forecast_chance c JOIN site p ON p.id = c.site JOIN site_state t ON t.site = c.site AND t.config_sha256 = c.config_sha256""",
        # The second part lists stations that have a state but are no longer in the site file.
        "station_health": f"""SELECT k.site AS site, k.id AS station, {health}
FROM station k LEFT JOIN station_state h ON h.site = k.site AND h.station = k.id
UNION ALL SELECT h.site, h.station, {health} FROM station_state h
WHERE NOT EXISTS (SELECT 1 FROM station k WHERE k.site = h.site AND k.id = h.station)""",
        "movement_now": _movement_now(d),
        **_instrument_views(d),
    }


def _movement_now(d: Dialect) -> str:
    """Return the view on current movement: the rate measured by each vote, or only the stage if no vote reads a series."""
    share = "coalesce(abs({0}.rate) / nullif(abs({0}.bound), 0), 0)".format
    mine = "(q.quantity = r.quantity OR r.quantity = 'displacement' AND substr(q.quantity, 1, 12) = 'displacement')"
    newest = "SELECT max(n.at) FROM movement n WHERE n.series_id"
    in_mm = "CASE WHEN r.unit = 'mm/day' THEN r.{0} END".format
    measured = f"""SELECT r.site, r.station, r.quantity, m.stage, m.trend, {in_mm("rate")} AS velocity_mm_per_day,
  {in_mm("error")} AS velocity_error_mm_per_day, r.rate, r.error AS rate_error, r.unit, r.window_s, r.newest_at, t.evaluated_at,
  {d.seconds_between("r.newest_at", "t.evaluated_at")} AS age_s, r.criterion, r.level,
  {d.level_name("p.levels", "r.level")} AS level_name, r.counted, r.bound, r.bound_level, {d.rounded(share("r"), 6)} AS bound_ratio,
  r.next_level, {d.level_name("p.levels", "r.next_level")} AS next_level_name, r.next_bound, r.next_rate, r.next_window_s,
  {d.rounded("abs(r.next_rate) / nullif(abs(r.next_bound), 0)", 6)} AS next_ratio
FROM rate_now r JOIN site p ON p.id = r.site JOIN site_state t ON t.site = r.site
LEFT JOIN series s ON s.id = (SELECT q.id FROM series q WHERE q.site = r.site AND q.station = r.station AND {mine}
  ORDER BY coalesce(({newest} = q.id), '') DESC, q.id LIMIT 1)
LEFT JOIN movement m ON m.series_id = s.id AND m.at = ({newest} = s.id)
WHERE p.active AND r.criterion = (SELECT b.criterion FROM rate_now b WHERE b.site = r.site AND b.station = r.station
  AND b.quantity = r.quantity
  ORDER BY CASE WHEN b.counted THEN 0 ELSE 1 END, b.level DESC, {share("b")} DESC, b.criterion LIMIT 1)"""
    empty = "CAST(NULL AS double precision)"
    return f"""{measured}
UNION ALL SELECT q.site, q.station, q.quantity, m.stage, m.trend, m.velocity_mm_per_day, m.velocity_error_mm_per_day,
  m.velocity_mm_per_day, m.velocity_error_mm_per_day, 'mm/day', m.velocity_window_s, m.data_until, m.at,
  {d.seconds_between("m.data_until", "m.at")}, NULL, NULL, NULL, NULL, {empty}, NULL, {empty}, NULL, NULL, {empty}, {empty}, {empty},
  {empty}
FROM series q JOIN site p ON p.id = q.site JOIN station k ON k.site = q.site AND k.id = q.station
JOIN movement m ON m.series_id = q.id AND m.at = ({newest} = q.id)
WHERE p.active AND k.declared AND k.on_slope
  AND NOT EXISTS (SELECT 1 FROM rate_now r WHERE r.site = q.site AND r.station = q.station AND {mine})"""


def _instrument_views(d: Dialect) -> dict[str, str]:
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
  {d.days_between("i.calibrated_on", "i.judged_at")} AS calibration_age_days, i.calibration_due_on, i.spark_of, i.spark, i.judged_at
FROM station k LEFT JOIN station_state h ON h.site = k.site AND h.station = k.id
LEFT JOIN instrument i ON i.site = k.site AND i.station = k.id
LEFT JOIN instrument_finding f ON f.site = k.site AND f.station = k.id AND f.rank =
  (SELECT min(b.rank) FROM instrument_finding b WHERE b.site = k.site AND b.station = k.id)
WHERE k.declared""",
        "instrument_findings": """SELECT site, station AS instrument, state, since, reason, reason_id, reason_values, action, action_id, action_values
FROM instrument_finding""",
        "instrument_availability": f"""SELECT site, station AS instrument, month, expected, received,
  {d.rounded("CAST(received AS double precision) / expected", 6)} AS availability
FROM instrument_month WHERE expected > 0""",
    }


def _alert_views(d: Dialect) -> dict[str, str]:
    alerts = f"""SELECT a.id AS alert_id, a.site, a.ledger, a.key, a.level, a.peak_level,
  CASE WHEN a.ledger = 'hazard' THEN {d.level_name("p.levels", "a.level")}
    WHEN a.level = 0 THEN 'clear' WHEN a.level = 1 THEN 'notice' ELSE 'urgent' END AS level_name,
  a.state, a.exercise, a.raised_at, a.data_time,
  a.reason, a.reason_id, a.reason_values, n.evidence, n.evidence_sha256, a.rule_version,
  n.config_sha256 AS config_version, n.code_version, a.acknowledged_at, a.acknowledged_by, a.closed_at
FROM alert a LEFT JOIN site p ON p.id = a.site LEFT JOIN decision n ON n.id = a.decision_id"""
    return {
        "active_alerts": f"{alerts} WHERE a.closed_at IS NULL",
        "alert_history": alerts,
        "alert_events": """SELECT e.alert_id, a.site, a.ledger, e.sequence, e.at, e.data_time, e.from_state, e.to_state,
  e.from_level, e.to_level, e.actor, e.actor_kind, e.via, e.until_at, e.reason, e.reason_id, e.reason_values
FROM alert_event e JOIN alert a ON a.id = e.alert_id""",
        "maintenance_windows": """SELECT id AS maintenance_id, site, station, from_at, to_at, "by", second_by, reason, added_at, ended_at, ended_by
FROM maintenance""",
        "site_proposals": """SELECT id AS proposal_id, site, sha256, base_sha256, author, reason, proposed_at, state, differences, effect,
  loosens_high, approved_by, second_by, decided_at, decision_reason,
  decision_reason_id, decision_reason_values FROM site_proposal""",
        "duty": """SELECT site, team, day, from_at, to_at, person, second_person FROM duty_turn""",
        "digests": "SELECT site, recipient, day, channel, at, state, attempts, error, error_id, error_values FROM digest",
        "duty_plans": """SELECT id AS plan_id, site, team, valid_from, begins, zone, plan, "by", reason, added_at FROM duty_rota""",
        "duty_changes": """SELECT id AS change_id, site, team, from_at, to_at, person_out, person_in, "by", reason, added_at, withdrawn_at,
  withdrawn_by FROM duty_override""",
        "duty_handovers": """SELECT id AS handover_id, site, team, since_at, at, outgoing, notes, open_items, signed_at, incoming, remark,
  withdrawn_at, withdrawn_by FROM duty_handover""",
        "drills": """SELECT id AS drill_id, site, started_at, ended_at, "by", scenario, state, outcome FROM drill""",
        "alert_outcomes": 'SELECT o.alert_id, a.site, o."class", o."by", o.note, o.at FROM alert_outcome o JOIN alert a ON a.id = o.alert_id',
        "notification_status": """SELECT id AS notification_id, alert_id, site, ledger, level, level_name, recipient, channel, exercise,
  state, attempts, queued_at, sent_at, confirmed_at, confirmed_by, confirmed_via, next_attempt_at, superseded_by,
  last_error, last_error_id, last_error_values, subject, subject_id, subject_values, idempotency_key
FROM notification""",
        "deliveries": f"""SELECT id AS notification_id, alert_id, site, ledger, level, level_name, recipient, channel,
  {d.before("channel", ":")} AS kind, exercise,
  CASE state WHEN 'claimed' THEN 'sending' WHEN 'failed_retry' THEN 'retrying' WHEN 'failed_final' THEN 'failed'
    WHEN 'delivered' THEN CASE WHEN received_at IS NULL THEN 'sent' ELSE 'delivered' END ELSE state END AS state,
  attempts, queued_at, sent_at, received_at, confirmed_at, confirmed_by, confirmed_via, next_attempt_at, superseded_by,
  provider_said, last_error AS why, last_error_id AS why_id, last_error_values AS why_values, subject, subject_id, subject_values
FROM notification""",
        "message_replies": """SELECT r.id AS reply_id, r.at, r.way, r.outcome, r.alert_id, a.site, r.person
FROM reply r LEFT JOIN alert a ON a.id = r.alert_id""",
        "siren_orders": """SELECT o.id AS order_id, o.site, o.topic, o.sequence, o.notification_id, o.wanted, o.level, o.level_name, o.exercise,
  CASE WHEN o.confirmed_at IS NOT NULL AND o.said = o.wanted THEN CASE o.wanted WHEN 'on' THEN 'confirmed' ELSE o.wanted END
    WHEN o.confirmed_at IS NOT NULL THEN 'refused'
    WHEN EXISTS (SELECT 1 FROM siren_order n WHERE n.topic = o.topic AND n.sequence > o.sequence) THEN 'replaced'
    ELSE 'ordered' END AS state,
  o.ordered_at, o.sent_at, o.valid_until, o.times, o.confirmed_at, o.confirmed_by, o.said FROM siren_order o""",
        "channel_tests": "SELECT id AS test_id, channel, target, at, good, found, received_at FROM channel_test",
    }


def _finding_views(d: Dialect) -> dict[str, str]:
    return {
        "anomalies": f"""SELECT {_SERIES}, x.at, x.detector, x.score, x.threshold, x.budget, x.kind, x.alerted, x.model_hash,
  coalesce(x.factor, 1.0) AS factor, x.compared_with, x.compared_with_id, x.compared_with_values
FROM series s JOIN anomaly x ON x.series_id = s.id""",
        "reading_gaps": f"""SELECT {_SERIES}, g.from_at, g.to_at, g.missing, g.found_at, g.filled_at
FROM series s JOIN reading_gap g ON g.series_id = s.id""",
        "anomaly_budgets": """SELECT id AS budget_id, site, detector, at, from_at, sensor_months, reported, labelled, dismissed,
  known_cause, rate AS rate_per_sensor_month, rate_low AS rate_low_per_sensor_month,
  rate_high AS rate_high_per_sensor_month, budget AS budget_per_sensor_month, factor_before, factor, reason, reason_id, reason_values, "by"
FROM anomaly_budget""",
        "model_proofs": """SELECT id AS proof_id, site, kind, subject, tested_at, made_by, "by", rows_from, rows_until, rows_tested,
  weights, settings, config_sha256, passed, reasons, reasons_id, reasons_values, valid_until
FROM model_proof""",
        "anomaly_labels": f"""SELECT l.id AS label_id, {_SERIES}, l.from_at, l.to_at, l.verdict, l.cause, l."by", l.note, l.at
FROM series s JOIN anomaly_label l ON l.series_id = s.id""",
        "scene_polygons": """SELECT c.site, c.name AS scene, c.scene_hash, c.acquired_at, g.polygon_id, g."class", g.parent_id, g.change, g.area_m2,
  g.grown_m2, g.mean_probability, g.geometry, g.min_lon, g.min_lat, g.max_lon, g.max_lat, g.nearest_station, g.distance_m, g.model,
  g.model_hash, g.detected_at, g.since_at, g.first_seen_at, g.caution, g.caution_id, g.caution_values, g.near_stations,
  g.susceptibility, g.susceptibility_map, CASE WHEN g.model IN ('sar', 'index') THEN g.model ELSE 'network' END AS method
FROM scene_footprint g JOIN scene c ON c.scene_hash = g.scene_hash
WHERE g.change <> 'withdrawn'""",
        "scene_changes": """SELECT c.site, c.name AS scene, c.acquired_at, h.polygon_id, g."class", h.judged_at, h.change, h.parent_id, h.grown_m2,
  h.since_at, h.first_seen_at, h.caution, h.caution_id, h.caution_values
FROM scene_change h JOIN scene c ON c.scene_hash = h.scene_hash
  JOIN scene_footprint g ON g.scene_hash = h.scene_hash AND g.model_hash = h.model_hash AND g.polygon_id = h.polygon_id""",
        "footprint_reviews": """SELECT c.site, c.name AS scene, c.acquired_at, r.polygon_id, r.at, r.verdict, r."by", r.note, r.geometry,
  g.mean_probability, g.area_m2, g.model, g.model_hash
FROM footprint_review r JOIN scene c ON c.scene_hash = r.scene_hash
  JOIN scene_footprint g ON g.scene_hash = r.scene_hash AND g.model_hash = r.model_hash AND g.polygon_id = r.polygon_id""",
        "scene_outlines": """SELECT c.site, c.name AS scene, o.scene_hash, c.acquired_at, o.id AS outline_id, o.kind, o.area_m2, o.geometry,
  o.from_polygon_id AS from_polygon, o.note, o.at, o."by", o.withdrawn_at, o.withdrawn_by
FROM scene_outline o JOIN scene c ON c.scene_hash = o.scene_hash""",
        "insar_points": """SELECT s.site, s.name AS point_set, p.pid, s.direction, p.latitude, p.longitude, p.height_m,
  o.observed_at AS newest_at, o.received_at,
  o.value_raw * CASE s.unit WHEN 'cm' THEN 10.0 WHEN 'm' THEN 1000.0 ELSE 1.0 END AS value_mm, o.revision,
  (SELECT count(*) FROM point_observation k WHERE k.point_id = p.id AND k.revision = 0) AS n,
  r.rate_mm_per_year, r.error_mm_per_year, r.from_at AS rate_from_at, r.newest_at AS rate_until_at
FROM point_set s JOIN point p ON p.point_set_id = s.id JOIN point_observation o ON o.point_id = p.id
  AND o.observed_at = (SELECT max(l.observed_at) FROM point_observation l WHERE l.point_id = p.id)
  AND o.revision = (SELECT max(l.revision) FROM point_observation l WHERE l.point_id = p.id AND l.observed_at = o.observed_at)
  LEFT JOIN point_rate r ON r.point_id = p.id
WHERE s.unit IN ('mm', 'cm', 'm')""",
        "point_looks": """SELECT l.site, s.name AS point_set, l.id AS look_id, l.looked_at, l.known_at, l.from_at, l.newest_at,
  l.acquisitions, l.points, l.withheld, l.alarms, l.happenings, l.going_on, l.left_out, l.budget AS budget_per_point_month,
  l.thresholds, l.digest, l.reason, l.reason_id, l.reason_values
FROM point_look l JOIN point_set s ON s.id = l.point_set_id""",
        "point_happenings": """SELECT l.site, s.name AS point_set, l.id AS look_id, l.looked_at, h.number, h.kind, h.common, h.first_at, h.last_at,
  h.points, h.judged, h.size_mm, h.score, h.latitude, h.longitude, h.radius_m, h.station, h.distance_m, h.compared_with,
  h.compared_with_id, h.compared_with_values
FROM point_look l JOIN point_set s ON s.id = l.point_set_id JOIN point_happening h ON h.point_look_id = l.id""",
        "point_anomalies": """SELECT l.site, s.name AS point_set, p.pid, a.at, a.kind, a.detector, a.part, a.score, a.threshold, a.size_mm,
  a.compared_with, a.compared_with_id, a.compared_with_values, p.latitude, p.longitude, l.id AS look_id, l.looked_at, h.number, h.common
FROM point_look l JOIN point_set s ON s.id = l.point_set_id JOIN point_happening h ON h.point_look_id = l.id
  JOIN point_anomaly a ON a.point_happening_id = h.id JOIN point p ON p.id = a.point_id""",
        "point_forecast_issues": """SELECT i.site, s.name AS point_set, i.id AS issue_id, i.issued_at, i.ended_at, i.known_at, i.newest_at,
  i.points, i.withheld, h.number AS horizon, i.step_s * h.steps AS horizon_s, h.target_at, h.model, h.level_rows, h.slope_rows, h.damping,
  h.forecasts AS held_out, h.inside AS held_out_inside_80, h.error_mm AS held_out_error_mm,
  h.persistence_mm AS held_out_persistence_mm, h.trend_mm AS held_out_trend_mm,
  i.digest, CASE WHEN i.reason <> '' THEN i.reason ELSE coalesce(h.reason, '') END AS reason,
  CASE WHEN i.reason <> '' THEN i.reason_id ELSE h.reason_id END AS reason_id,
  CASE WHEN i.reason <> '' THEN i.reason_values ELSE h.reason_values END AS reason_values
FROM point_issue i JOIN point_set s ON s.id = i.point_set_id LEFT JOIN point_issue_horizon h ON h.point_issue_id = i.id""",
        "point_forecasts": """SELECT s.site, s.name AS point_set, p.pid, s.direction, p.latitude, p.longitude, i.id AS issue_id, i.issued_at,
  i.newest_at, h.number AS horizon, i.step_s * h.steps AS horizon_s, h.target_at,
  CASE WHEN (f.on_line & CASE h.number WHEN 1 THEN 1 WHEN 2 THEN 2 ELSE 4 END) <> 0 THEN 'trend' ELSE h.model END AS model, f.value_mm,
  CASE h.number WHEN 1 THEN f.middle_1_mm - f.half_1_mm WHEN 2 THEN f.middle_2_mm - f.half_2_mm ELSE f.middle_3_mm - f.half_3_mm END AS q10,
  CASE h.number WHEN 1 THEN f.middle_1_mm WHEN 2 THEN f.middle_2_mm ELSE f.middle_3_mm END AS q50,
  CASE h.number WHEN 1 THEN f.middle_1_mm + f.half_1_mm WHEN 2 THEN f.middle_2_mm + f.half_2_mm ELSE f.middle_3_mm + f.half_3_mm END AS q90,
  CASE WHEN h.reason <> '' THEN h.reason
       WHEN CASE h.number WHEN 1 THEN f.middle_1_mm WHEN 2 THEN f.middle_2_mm ELSE f.middle_3_mm END IS NULL THEN f.reason
       ELSE '' END AS reason,
  CASE WHEN h.reason <> '' THEN h.reason_id
       WHEN CASE h.number WHEN 1 THEN f.middle_1_mm WHEN 2 THEN f.middle_2_mm ELSE f.middle_3_mm END IS NULL THEN f.reason_id
       ELSE NULL END AS reason_id,
  CASE WHEN h.reason <> '' THEN h.reason_values
       WHEN CASE h.number WHEN 1 THEN f.middle_1_mm WHEN 2 THEN f.middle_2_mm ELSE f.middle_3_mm END IS NULL THEN f.reason_values
       ELSE NULL END AS reason_values
FROM point_set s JOIN point p ON p.point_set_id = s.id JOIN point_forecast f ON f.point_id = p.id
  JOIN point_issue i ON i.id = f.point_issue_id JOIN point_issue_horizon h ON h.point_issue_id = i.id""",
        "rejected_messages": f"""SELECT id AS rejected_id, received_at, topic, code, reason, reason_id, reason_values, client, payload_bytes,
  {d.hexadecimal("substr(payload, 1, 256)")} AS payload_start_hex, digest, times, replayed_at, replay_result,
  retained, payload_bytes > length(payload) AS cut
FROM rejected_message""",
        "quarantine_sources": "SELECT source, kept_bytes, kept_rows, unkept, unkept_at FROM quarantine_source",
    }


def _record_views() -> dict[str, str]:
    return {
        "sequence_gaps": """SELECT id AS gap_id, site, station, source, boot_id, from_seq, to_seq, to_seq - from_seq + 1 AS missing,
  from_at, to_at, detected_at, requested_at, filled_at
FROM sequence_gap""",
        "observation_summaries": """SELECT s.site, s.station, s.quantity, s.unit, o.starts_at, o.span_s, o.median, o.minimum, o.maximum,
  o.mean, o."count", o.flagged, o.made_at
FROM observation_summary o JOIN series s ON s.id = o.series_id""",
        "retention_runs": """SELECT id AS run_id, at, what, before_at, removed, summaries, seconds, longest_ms
FROM retention_run""",
        "backups": """SELECT id AS backup_id, at, file, state, seconds, bytes, "rows", audit_head, detail
FROM backup_run""",
        "sources": """SELECT source, site, kind, address, polled_at, new_at, CASE WHEN error IS NULL THEN 'ok' ELSE 'failed' END AS outcome,
  error, error_id, error_values, error_since, failures, next_at, CASE WHEN error IS NOT NULL THEN coalesce(success_at, since_at) END AS silent_since,
  rows_new AS values_new, rows_all AS values_all
FROM source_poll""",
        "issued_reports": """SELECT r.id AS report_id, r.site, r.kind, r.from_at, r.to_at, r.made_at, r.language, r.facts_sha256,
  r.code_version, (SELECT count(*) FROM report_mail m WHERE m.report_id = r.id) AS mails,
  (SELECT count(*) FROM report_mail m WHERE m.report_id = r.id AND m.state = 'delivered') AS delivered
FROM issued_report r""",
        "service_checks": """SELECT name, state, since, checked_at, "value", unit, found, found_id, found_values, remedy, remedy_id, remedy_values
FROM service_check""",
        "outages": """SELECT o.id AS outage_id, o.cause, o.from_at, o.back_at, o.drained_at, o.counted_at, o.counts_until,
  (SELECT count(*) FROM outage_station k WHERE k.outage_id = o.id) AS stations,
  (SELECT coalesce(sum(k.late), 0) FROM outage_station k WHERE k.outage_id = o.id) AS late,
  (SELECT coalesce(sum(k.missing), 0) FROM outage_station k WHERE k.outage_id = o.id) AS missing
FROM outage o""",
        "outage_stations": """SELECT k.outage_id, k.site, k.station, o.from_at, o.back_at, k.expected, k.received, k.late, k.missing, k.last_late_at
FROM outage_station k JOIN outage o ON o.id = k.outage_id""",
        "photos": """SELECT id AS photo_id, site, alert_id, report_id, added_at, "by", via, note, sha256, width, height, taken,
  latitude, longitude, camera FROM photo""",
        "reports": """SELECT id AS report_id, site, at, received_at, kind, text, "by", station, photo_url,
  coalesce(via, 'unknown') AS via, coalesce(credential, 'unknown') AS credential
FROM report""",
        "site_events": """SELECT id AS event_id, site, from_at, to_at, received_at, kind, value, text, "by",
  via, (SELECT count(*) FROM event_confirmation k
    WHERE k.event_id = site_event.id AND k.withdrawn_at IS NULL) AS confirmations,
  withdrawn_at, withdrawn_by
FROM site_event""",
        "config_versions": """SELECT site, sha256 AS config_version, loaded_at, author, reason, reason_id, reason_values, code_version,
  source FROM config_version""",
        "audit_log": """SELECT id AS audit_id, at, actor, actor_kind, action, subject, detail, previous_hash, hash
FROM audit_entry""",
    }
