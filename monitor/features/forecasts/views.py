"""Public views on forecasts and their scores."""

from typing import Any, Final, TypedDict

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, Table, Text

from monitor.api.store import SERIES_COLUMNS, Dialect, view_metadata

_HORIZON: Final = (
    "requested horizon: `target_at` is the nearest grid row this long after the row nearest to `issued_at`"
)


class IssuedForecastRow(TypedDict):
    """A row of `latest_forecast`."""

    station: str
    quantity: str
    unit: str
    issued_at: str
    data_until: str
    target_at: str
    horizon_s: float
    q025: float | None
    q10: float | None
    q50: float | None
    q90: float | None
    q975: float | None
    model: str
    model_hash: str | None
    baseline: str | None
    baseline_q50: float | None
    novelty: float | None
    weight: float | None
    data_value: float
    shown: bool
    reason: str


class WhyNotShownRow(TypedDict):
    """A row of `why_not_shown`: a series and a model without a shown forecast."""

    site: str
    station: str
    quantity: str
    model: str
    horizon_s: float
    issued_at: str
    reason: str
    lacking: str
    earliest_at: str | None


def _make_columns() -> list[Column[Any]]:
    """Return new columns of a view with one row per forecast; a column belongs to one table."""
    return [
        Column("site", Text, comment="site id"),
        Column("station", Text, comment="station id"),
        Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
        Column("unit", Text, comment="unit of the values of this row"),
        Column("issued_at", Text, comment="when the forecast was made", info={"unit": "time"}),
        Column("data_until", Text, comment="grid row of the newest reading it used", info={"unit": "time"}),
        Column(
            "as_of_received_at",
            Text,
            comment="time of reception of the newest reading that the forecast could use",
            info={"unit": "time"},
        ),
        Column("target_at", Text, comment="instant for which the forecast was made", info={"unit": "time"}),
        Column("horizon_s", Double, comment=_HORIZON, info={"unit": "s"}),
        Column("q025", Double, comment="2.5 % quantile at the target, absolute", info={"unit": "`unit`"}),
        Column("q10", Double, comment="10 % quantile", info={"unit": "`unit`"}),
        Column("q50", Double, comment="median", info={"unit": "`unit`"}),
        Column("q90", Double, comment="90 % quantile", info={"unit": "`unit`"}),
        Column("q975", Double, comment="97.5 % quantile", info={"unit": "`unit`"}),
        Column("model", Text, comment="name of the model"),
        Column("model_hash", Text, comment="SHA-256 of the checkpoint of a network, else empty"),
        Column(
            "baseline", Text, comment="`persistence` or `line`: the one with the smaller error so far on this series"
        ),
        Column("baseline_q50", Double, comment="median of the baseline for the same target", info={"unit": "`unit`"}),
        Column(
            "data_value",
            Double,
            comment="value at `data_until`, which is the forecast `persistence`",
            info={"unit": "`unit`"},
        ),
        Column("shown", Boolean, comment="whether people see this forecast: only rows of `combined`"),
        Column("reason", Text, comment="reason, one sentence"),
        Column("reason_id", Text, comment="id of the message in `reason`"),
        Column("reason_values", Text, comment="values of that message, JSON"),
        Column(
            "stage",
            Text,
            comment="how the station moved as known at the issue (`movement_history`), null before its first update",
        ),
        Column(
            "novelty",
            Double,
            comment=(
                "how far the present motion is from the past of the station, as a share of the limit: above 1 it is outside "
                "experience; null where the record is too short"
            ),
        ),
        Column(
            "weight",
            Double,
            comment="share of this model in the forecast `combined` of the same issue, station and horizon; null of others",
            info={"unit": "1"},
        ),
        Column(
            "hindcast",
            Boolean,
            comment="whether it was computed later from readings before `issued_at`, only to be scored",
        ),
    ]


latest_forecast = Table(
    "latest_forecast",
    view_metadata,
    *_make_columns(),
    comment=(
        "The newest issue of each model for each series, one row per target. `WHERE shown` selects the forecast "
        "that people see, `combined`: the weighted mean of simple forecasts and networks. Rows of a network (`gru`) are "
        "its own output with an interval from its own errors; `weight` is its share in `combined`. When readings end, "
        "the last issue remains: see `data_until`. A row of `combined` is valid only until the next issue, which may "
        "withhold it."
    ),
    info={"question": "What will it do next, and how likely is a bound to be crossed?", "row": IssuedForecastRow},
)

forecast_history = Table(
    "forecast_history",
    view_metadata,
    *_make_columns(),
    comment="The same for every issue: what was believed at any moment.",
    info={"question": "What will it do next, and how likely is a bound to be crossed?"},
)

forecast_chances = Table(
    "forecast_chances",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("criterion", Text, comment="id of the criterion"),
    Column("station", Text, comment="station id"),
    Column("level", Integer, comment="level of the bound, 0 = lowest"),
    Column("level_name", Text, comment="its name"),
    Column(
        "over_mm_per_day",
        Double,
        comment="the bound: mean velocity downslope until the horizon",
        info={"unit": "mm/day"},
    ),
    Column("horizon_s", Double, comment="requested horizon, see `forecast_history`", info={"unit": "s"}),
    Column(
        "chance_from",
        Double,
        comment="chance of more than the bound; 0 where the bound lies above the outer quantile",
        info={"unit": "1"},
    ),
    Column(
        "chance_to",
        Double,
        comment="the same as `chance_from`, or the upper end where the quantiles say no more",
        info={"unit": "1"},
    ),
    Column("probability", Double, comment="probability above which the bound counts as crossed", info={"unit": "1"}),
    Column("crossed", Boolean, comment="whether the bound counts as crossed"),
    Column("model", Text, comment="name of the model of the forecast"),
    Column("data_until", Text, comment="newest reading that the forecast used", info={"unit": "time"}),
    Column("evaluated_at", Text, comment="evaluation that wrote the row", info={"unit": "time"}),
    comment=(
        "Result of each criterion `forecast` at the newest evaluation that changed it: one row per station and "
        "level with a forecast of its horizon. A row is deleted with its forecast. Rows of another version of the "
        "site file are left out."
    ),
    info={"question": "What will it do next, and how likely is a bound to be crossed?"},
)

why_not_shown = Table(
    "why_not_shown",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("model", Text, comment="name of the model"),
    Column(
        "horizon_s",
        Double,
        comment="horizon without a forecast; null = all horizons",
        info={"unit": "s"},
    ),
    Column("issued_at", Text, comment="time of the newest issue", info={"unit": "time"}),
    Column("reason", Text, comment="reason, one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column(
        "lacking",
        Text,
        comment='what is missing, such as "30 of the last 60 days; 42 are needed"; null if nothing can be done',
    ),
    Column("lacking_id", Text, comment="id of the message in `lacking`"),
    Column("lacking_values", Text, comment="values of that message, JSON"),
    Column(
        "earliest_at",
        Text,
        comment="earliest time of a forecast, if all missing readings arrive; null if unknown",
        info={"unit": "time"},
    ),
    comment=(
        "Series and models without a forecast in the newest issue: forecasts that were withheld, and networks "
        "that are not trained."
    ),
    info={"question": "Why is there no forecast, and from when on?", "row": WhyNotShownRow},
)

forecast_vs_observed = Table(
    "forecast_vs_observed",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("unit", Text, comment="unit of the values of this row"),
    Column("issued_at", Text, comment="when the forecast was made", info={"unit": "time"}),
    Column("data_until", Text, comment="grid row of the newest reading it used", info={"unit": "time"}),
    Column(
        "as_of_received_at",
        Text,
        comment="time of reception of the newest reading that the forecast could use",
        info={"unit": "time"},
    ),
    Column("target_at", Text, comment="instant for which the forecast was made", info={"unit": "time"}),
    Column("horizon_s", Double, comment=_HORIZON, info={"unit": "s"}),
    Column("q025", Double, comment="2.5 % quantile at the target, absolute", info={"unit": "`unit`"}),
    Column("q10", Double, comment="10 % quantile", info={"unit": "`unit`"}),
    Column("q50", Double, comment="median", info={"unit": "`unit`"}),
    Column("q90", Double, comment="90 % quantile", info={"unit": "`unit`"}),
    Column("q975", Double, comment="97.5 % quantile", info={"unit": "`unit`"}),
    Column("model", Text, comment="name of the model"),
    Column("model_hash", Text, comment="SHA-256 of the checkpoint of a network, else empty"),
    Column("baseline", Text, comment="`persistence` or `line`: the one with the smaller error so far on this series"),
    Column("baseline_q50", Double, comment="median of the baseline for the same target", info={"unit": "`unit`"}),
    Column(
        "data_value",
        Double,
        comment="value at `data_until`, which is the forecast `persistence`",
        info={"unit": "`unit`"},
    ),
    Column("shown", Boolean, comment="whether people see this forecast: only rows of `combined`"),
    Column("reason", Text, comment="reason, one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column(
        "stage",
        Text,
        comment="how the station moved as known at the issue (`movement_history`), null before its first update",
    ),
    Column("observed_at", Text, comment="epoch of the observation used", info={"unit": "time"}),
    Column(
        "observed",
        Double,
        comment="observed value at the level of the issue: without jumps of the instrument and offsets since then",
        info={"unit": "`unit`"},
    ),
    Column("error", Double, comment="`observed - q50`", info={"unit": "`unit`"}),
    Column("baseline_error", Double, comment="`observed - baseline_q50`", info={"unit": "`unit`"}),
    Column("persistence_error", Double, comment="`observed - data_value`", info={"unit": "`unit`"}),
    Column("inside_80", Boolean, comment="between `q10` and `q90`"),
    Column("inside_95", Boolean, comment="between `q025` and `q975`"),
    Column("pinball", Double, comment="mean pinball loss of the five quantiles", info={"unit": "`unit`"}),
    Column("winkler_80", Double, comment="Winkler score of the 80 % interval", info={"unit": "`unit`"}),
    Column("scored_at", Text, comment="when it was scored", info={"unit": "time"}),
    Column("crps", Double, comment="continuous ranked probability score, or null", info={"unit": "`unit`"}),
    Column(
        "pit",
        Double,
        comment="probability of the forecast for values below the observed one, or null",
        info={"unit": "1"},
    ),
    Column("situation", Text, comment="situation of the slope, see `forecast_scores`"),
    Column(
        "weight",
        Double,
        comment="share of this model in the forecast `combined` of the same issue, station and horizon; null of others",
        info={"unit": "1"},
    ),
    Column(
        "hindcast", Boolean, comment="whether it was computed later from readings before `issued_at`, only to be scored"
    ),
    comment="Forecasts whose target was observed, with their score. Errors are observed minus forecast.",
    info={"question": "Was the forecast right?"},
)

forecast_skill = Table(
    "forecast_skill",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("model", Text, comment="name of the model"),
    Column("horizon_s", Double, comment="requested horizon, see `forecast_history`", info={"unit": "s"}),
    Column("month", Text, comment="`YYYY-MM` of `target_at`"),
    Column(
        "hindcast",
        Boolean,
        comment="whether the row is about hindcasts; no row is about both hindcasts and forecasts",
    ),
    Column("n", BigInteger, comment="scored forecasts"),
    Column("mae", Double, comment="mean absolute error of the median", info={"unit": "unit of the series"}),
    Column(
        "mae_persistence", Double, comment="mean absolute error of persistence", info={"unit": "unit of the series"}
    ),
    Column(
        "mae_best_baseline",
        Double,
        comment="mean absolute error of the best simple baseline",
        info={"unit": "unit of the series"},
    ),
    Column(
        "skill",
        Double,
        comment="`1 - mae / mae_best_baseline`; null where the baseline made no error",
        info={"unit": "1"},
    ),
    comment=("Scores by month of the target, all checkpoints of a model together. Rounded to 1e-6."),
    info={"question": "Was the forecast right?"},
)

forecast_skill_by_stage = Table(
    "forecast_skill_by_stage",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("model", Text, comment="name of the model"),
    Column("horizon_s", Double, comment="requested horizon, see `forecast_history`", info={"unit": "s"}),
    Column("month", Text, comment="`YYYY-MM` of `target_at`"),
    Column(
        "hindcast",
        Boolean,
        comment="whether the row is about hindcasts; no row is about both hindcasts and forecasts",
    ),
    Column("stage", Text, comment="stage as known at the issue; null where the station had never been looked at"),
    Column("n", BigInteger, comment="scored forecasts"),
    Column("mae", Double, comment="mean absolute error of the median", info={"unit": "unit of the series"}),
    Column(
        "mae_best_baseline",
        Double,
        comment="mean absolute error of the best simple baseline",
        info={"unit": "unit of the series"},
    ),
    Column(
        "skill",
        Double,
        comment="`1 - mae / mae_best_baseline`; null where the baseline made no error",
        info={"unit": "1"},
    ),
    Column("covered_80", Double, comment="share inside the 80 % interval", info={"unit": "1"}),
    Column("covered_95", Double, comment="share inside the 95 % interval", info={"unit": "1"}),
    comment=(
        "Scores by how the station moved when the forecast was issued (creep, intermediate, progressive, "
        "step, unknown) and by month of the target. Rounded to 1e-6."
    ),
    info={"question": "Was the forecast right?"},
)

forecast_scores = Table(
    "forecast_scores",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("model", Text, comment="name of the model"),
    Column("horizon_s", Double, comment="requested horizon, see `forecast_history`", info={"unit": "s"}),
    Column("month", Text, comment="`YYYY-MM` of `target_at`"),
    Column(
        "hindcast",
        Boolean,
        comment="whether the row is about hindcasts; no row is about both hindcasts and forecasts",
    ),
    Column(
        "situation",
        Text,
        comment=(
            "the first that fits at the issue: `critical`, `accelerating`, `after a step`, `after rain`, "
            "`steady`, `creep`. Critical: a trusted failure window of the station stood. After rain: three "
            "days among the wettest tenth of four months. Null where nobody had looked"
        ),
    ),
    Column("n", BigInteger, comment="scored forecasts"),
    Column("mae", Double, comment="mean absolute error of the median", info={"unit": "unit of the series"}),
    Column(
        "mae_persistence", Double, comment="mean absolute error of persistence", info={"unit": "unit of the series"}
    ),
    Column(
        "pinball", Double, comment="mean quantile loss over the five quantiles", info={"unit": "unit of the series"}
    ),
    Column(
        "crps",
        Double,
        comment="mean continuous ranked probability score; lower is better",
        info={"unit": "unit of the series"},
    ),
    Column(
        "interval_score_80",
        Double,
        comment="mean Winkler score of the 80 % interval; lower is better",
        info={"unit": "unit of the series"},
    ),
    Column("covered_80", Double, comment="share inside the 80 % interval", info={"unit": "1"}),
    Column("covered_95", Double, comment="share inside the 95 % interval", info={"unit": "1"}),
    Column(
        "pit_below_10",
        Double,
        comment="share that came below the 10 % quantile: honest fans have 0.1",
        info={"unit": "1"},
    ),
    Column(
        "pit_above_90",
        Double,
        comment="share that came above the 90 % quantile: honest fans have 0.1",
        info={"unit": "1"},
    ),
    comment=("Scores of whole fans, by what the forecast was up against and by month of the target. Rounded to 1e-6."),
    info={"question": "Was the forecast right?"},
)

forecast_coverage = Table(
    "forecast_coverage",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("model", Text, comment="name of the model"),
    Column("horizon_s", Double, comment="requested horizon, see `forecast_history`", info={"unit": "s"}),
    Column("month", Text, comment="`YYYY-MM` of `target_at`"),
    Column(
        "hindcast",
        Boolean,
        comment="whether the row is about hindcasts; no row is about both hindcasts and forecasts",
    ),
    Column("nominal", Double, comment="share that should be inside", info={"unit": "1"}),
    Column("covered", Double, comment="share that was inside", info={"unit": "1"}),
    Column("width", Double, comment="mean width of the interval", info={"unit": "unit of the series"}),
    Column("n", BigInteger, comment="scored forecasts"),
    comment=(
        "How often the intervals held, by month of the target; two rows per group, nominal 0.8 and 0.95. "
        "Rounded to 1e-6."
    ),
    info={"question": "Was the forecast right?"},
)

forecast_coverage_rolling = Table(
    "forecast_coverage_rolling",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("model", Text, comment="name of the model"),
    Column("horizon_s", Double, comment="requested horizon, see `forecast_history`", info={"unit": "s"}),
    Column("target_at", Text, comment="target of the newest of the 30", info={"unit": "time"}),
    Column("issued_at", Text, comment="when that forecast was made", info={"unit": "time"}),
    Column("shown", Boolean, comment="whether people saw the forecast of this model"),
    Column(
        "hindcast",
        Boolean,
        comment="whether the row is about hindcasts; no row is about both hindcasts and forecasts",
    ),
    Column("covered_80", Double, comment="share of the 30 inside the 80 % interval", info={"unit": "1"}),
    Column("covered_95", Double, comment="share of the 30 inside the 95 % interval", info={"unit": "1"}),
    Column("n", Integer, comment="number of forecasts, 30 at most"),
    comment=(
        "How often the intervals of the newest 30 scored forecasts contained the observed value. There is a row for "
        "each scored target. Select one station, model and horizon: three years of all of them are 78,000 rows."
    ),
    info={"question": "Was the forecast right?"},
)


_FORECAST_COLUMNS: Final = f"""{SERIES_COLUMNS}, s.unit AS unit, f.issued_at, f.data_until, f.as_of_received_at, f.target_at, f.horizon_s,
  f.q025, f.q10, f.q50, f.q90, f.q975, f.model, f.model_hash, f.baseline, f.baseline_q50, f.data_value, f.shown,
  f.reason, f.reason_id, f.reason_values,
  f.stage"""
_WEIGHT_COLUMNS: Final = "f.novelty, f.weight, f.hindcast"


def select_views(dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    scored = "FROM series s JOIN forecast f ON f.series_id = s.id JOIN forecast_score c ON c.forecast_id = f.id"
    months = "FROM series s JOIN forecast_month g ON g.series_id = s.id"
    group = f"{SERIES_COLUMNS}, g.model AS model, g.horizon_s AS horizon_s, g.month AS month, g.hindcast AS hindcast"
    by = "GROUP BY s.site, s.station, s.quantity, g.model, g.horizon_s, g.month, g.hindcast"
    count = "sum(g.n) AS n"

    def mean(sums: str, of: str = "n") -> str:
        return dialect.rounded(f"CAST(sum(g.{sums}) AS double precision) / nullif(sum(g.{of}), 0)", 6)

    skill = f"""CASE WHEN sum(g.baseline_error) > 0
    THEN {dialect.rounded("1 - (sum(g.error) / sum(g.n)) / (sum(g.baseline_error) / sum(g.n))", 6)} END AS skill"""
    return {
        # The combined forecast is valid only until the next issue of the series, which may withhold it.
        "latest_forecast": f"""SELECT {_FORECAST_COLUMNS}, {_WEIGHT_COLUMNS} FROM series s {_newest_issues(dialect)}
  WHERE f.model <> 'combined' OR f.issued_at = (SELECT max(g.issued_at) FROM forecast g WHERE g.series_id = s.id AND NOT g.hindcast)""",
        "forecast_history": f"SELECT {_FORECAST_COLUMNS}, {_WEIGHT_COLUMNS} FROM series s JOIN forecast f ON f.series_id = s.id",
        "forecast_vs_observed": f"""SELECT {_FORECAST_COLUMNS}, c.observed_at, c.observed, c.error, c.baseline_error, c.persistence_error,
  c.inside_80, c.inside_95, c.pinball, c.winkler_80, c.scored_at, c.crps, c.pit, c.situation, f.weight, f.hindcast {scored}""",
        "why_not_shown": f"""SELECT {SERIES_COLUMNS}, w.model, w.horizon_s, w.issued_at, w.reason, w.reason_id, w.reason_values,
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
        "forecast_coverage_rolling": f"""SELECT {SERIES_COLUMNS}, f.model AS model, f.horizon_s AS horizon_s, f.target_at, f.issued_at, f.shown, f.hindcast,
  {", ".join(f"{dialect.rounded(f'CAST(c.rolled_{k} AS double precision) / c.rolled', 6)} AS covered_{k}" for k in (80, 95))}, c.rolled AS n
{scored}""",
        "forecast_coverage": f"""SELECT m.site, m.station, m.quantity, m.model, m.horizon_s, m.month, m.hindcast, k.nominal,
  CASE WHEN k.nominal < 0.9 THEN m.covered_80 ELSE m.covered_95 END AS covered,
  CASE WHEN k.nominal < 0.9 THEN m.width_80 ELSE m.width_95 END AS width, m.n
FROM (SELECT {group}, {count}, {mean("inside_80")} AS covered_80, {mean("inside_95")} AS covered_95,
  {mean("width_80")} AS width_80, {mean("width_95")} AS width_95 {months} {by}) m CROSS JOIN
  (SELECT CAST(0.8 AS double precision) AS nominal UNION ALL SELECT CAST(0.95 AS double precision)) k""",
        "forecast_chances": f"""SELECT c.site, c.criterion, c.station, c.level, {dialect.level_name("p.levels", "c.level")} AS level_name,
  c.over_mm_per_day, c.window_s AS horizon_s, c.chance_from, c.chance_to, c.probability, c.crossed, c.model, c.data_until, c.evaluated_at
FROM forecast_chance c JOIN site p ON p.id = c.site JOIN site_state t ON t.site = c.site AND t.config_sha256 = c.config_sha256""",
    }


def _newest_issues(dialect: Dialect) -> str:
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
    if dialect.sqlite:
        return f"""CROSS JOIN forecast f ON f.id IN ({models}
  SELECT n.id FROM m JOIN forecast n INDEXED BY ix_forecast_series_model ON {mine} = {last} WHERE m.model IS NOT NULL)"""
    return f"""CROSS JOIN LATERAL ({models}
  SELECT k.* FROM m CROSS JOIN LATERAL (SELECT n.* FROM forecast n WHERE {mine} = {last} OFFSET 0) k) f"""
