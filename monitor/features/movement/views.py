"""Public views on movement of stations and failure windows."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, Table, Text

from monitor.api.store import SERIES_COLUMNS, Dialect, view_metadata

movement_now = Table(
    "movement_now",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="quantity as the criterion names it"),
    Column("stage", Text, comment="stage of movement; null before its first update"),
    Column("trend", Text, comment="trend of movement"),
    Column("velocity_mm_per_day", Double, comment="rate of a series in mm, else null", info={"unit": "mm/day"}),
    Column("velocity_error_mm_per_day", Double, comment="its standard error", info={"unit": "mm/day"}),
    Column("rate", Double, comment="rate of the series in `unit`, with its sign", info={"unit": "`unit`"}),
    Column("rate_error", Double, comment="its standard error", info={"unit": "`unit`"}),
    Column("unit", Text, comment="unit of rates and bounds, such as mm/day"),
    Column("window_s", Double, comment="length of the window of the rate", info={"unit": "s"}),
    Column("newest_at", Text, comment="newest reading from which the rate is computed", info={"unit": "time"}),
    Column("evaluated_at", Text, comment="newest decision of the site", info={"unit": "time"}),
    Column(
        "age_s",
        BigInteger,
        comment="age of that reading at that decision; add the time since `evaluated_at` for its age now",
        info={"unit": "s"},
    ),
    Column("criterion", Text, comment="id of the criterion"),
    Column("level", Integer, comment="level that the vote asks for, 0 = lowest"),
    Column("level_name", Text, comment="its name"),
    Column("counted", Boolean, comment="whether the vote counts; the vote of a faulty instrument does not"),
    Column(
        "bound",
        Double,
        comment="bound with which the rate is compared: that of `level`, or at level 0 the lowest bound",
        info={"unit": "`unit`"},
    ),
    Column("bound_level", Integer, comment="level of that bound"),
    Column("bound_ratio", Double, comment="rate divided by that bound", info={"unit": "1"}),
    Column("next_level", Integer, comment="next higher level; null if there is none"),
    Column("next_level_name", Text, comment="its name"),
    Column("next_bound", Double, comment="its bound", info={"unit": "`unit`"}),
    Column("next_rate", Double, comment="rate in the window of that bound", info={"unit": "`unit`"}),
    Column("next_window_s", Double, comment="length of that window", info={"unit": "s"}),
    Column(
        "next_ratio",
        Double,
        comment="`next_rate` divided by `next_bound`; at 1 the bound is reached",
        info={"unit": "1"},
    ),
    comment=(
        "How fast each series moves according to the newest decision, and its bounds: one row per station and "
        "quantity. If several criteria read a series, the row is that of the vote for the highest level, and among "
        "these of the largest `bound_ratio`. Page and reminders show the same numbers. For a series that no criterion "
        "with a vote reads, stage and velocity are those of the newest update of movement, and there are no bounds."
    ),
    info={"question": "Which stations move fastest now, and how near is the next level?"},
)

movement_history = Table(
    "movement_history",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity"),
    Column("at", Text, comment="time of the update", info={"unit": "time"}),
    Column("data_until", Text, comment="newest epoch used, or null", info={"unit": "time"}),
    Column("stage", Text, comment="creep, intermediate, progressive, step or unknown"),
    Column("trend", Text, comment="none, linear, regressive, progressive or unknown"),
    Column(
        "probability", Double, comment="probability of the stage from this update alone, or null", info={"unit": "1"}
    ),
    Column(
        "velocity_mm_per_day", Double, comment="velocity at the middle of its window, or null", info={"unit": "mm/day"}
    ),
    Column("velocity_error_mm_per_day", Double, comment="its standard error", info={"unit": "mm/day"}),
    Column("velocity_window_s", Double, comment="length of that window, or null", info={"unit": "s"}),
    Column("acceleration_mm_per_day2", Double, comment="acceleration, or null", info={"unit": "mm/day²"}),
    Column("acceleration_error_mm_per_day2", Double, comment="its standard error", info={"unit": "mm/day²"}),
    Column(
        "tangential_angle_deg",
        Double,
        comment="improved tangential angle, or null without a reviewed v_eq",
        info={"unit": "degree"},
    ),
    Column(
        "v_eq_mm_per_day",
        Double,
        comment="reviewed velocity of uniform creep for that angle, or null",
        info={"unit": "mm/day"},
    ),
    Column(
        "inverse_velocity_day_per_mm",
        Double,
        comment="1 / velocity if the motion exceeds its noise, else null",
        info={"unit": "day/mm"},
    ),
    Column("reasons", Text, comment="reasons of the stage"),
    Column("reasons_id", Text, comment="id of the message in `reasons`"),
    Column("reasons_values", Text, comment="values of that message, JSON"),
    comment="Movement of stations, one row per update: stage and trend with hysteresis, and the numbers behind them.",
    info={"question": "Which stations move fastest now, and how near is the next level?"},
)

failure_windows = Table(
    "failure_windows",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("issued_at", Text, comment="when the forecast was made", info={"unit": "time"}),
    Column("data_until", Text, comment="newest epoch that the forecast used", info={"unit": "time"}),
    Column("window_from", Text, comment="start of the nominal 90 % window", info={"unit": "time"}),
    Column("window_mid", Text, comment="middle", info={"unit": "time"}),
    Column("window_to", Text, comment="end", info={"unit": "time"}),
    Column("trusted", Boolean, comment="whether all conditions of the method are met"),
    Column("reasons", Text, comment="conditions that are not met"),
    Column("reasons_id", Text, comment="id of the message in `reasons`"),
    Column("reasons_values", Text, comment="values of that message, JSON"),
    Column("velocity_mm_per_day", Double, comment="velocity at `data_until`", info={"unit": "mm/day"}),
    Column("r2", Double, comment="fit of the inverse velocity", info={"unit": "1"}),
    Column("n_filters", Integer, comment="filters tried"),
    Column("n_agree", Integer, comment="filters that agree"),
    Column("withdrawn_at", Text, comment="when the window was withdrawn, or null", info={"unit": "time"}),
    Column("withdrawn_reason", Text, comment="why the window was withdrawn, or null"),
    Column("withdrawn_reason_id", Text, comment="id of the message in `withdrawn_reason`"),
    Column("withdrawn_reason_values", Text, comment="values of that message, JSON"),
    Column(
        "method",
        Text,
        comment=("`inverse_velocity`, or `forecast`: the quantiles of the shown forecast cross the failure velocity"),
    ),
    Column("onset_at", Text, comment="since when the slope accelerates, or null", info={"unit": "time"}),
    comment=(
        "Windows in which a slope that accelerates may fail, if the present acceleration goes on. Every "
        "issue is kept, so that the drift of the window can be seen."
    ),
    info={"question": "When may a slope fail?"},
)


def select_views(dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "failure_windows": f"""SELECT {SERIES_COLUMNS}, w.issued_at, w.data_until, w.window_from, w.window_mid, w.window_to, w.trusted,
  w.reasons, w.reasons_id, w.reasons_values, w.velocity_mm_per_day, w.r2, w.n_filters, w.n_agree, w.withdrawn_at, w.withdrawn_reason,
  w.withdrawn_reason_id, w.withdrawn_reason_values,
  w.method, w.onset_at
FROM failure_time w JOIN series s ON s.id = w.series_id""",
        "movement_history": f"""SELECT {SERIES_COLUMNS}, m.at, m.data_until, m.stage, m.trend, m.probability, m.velocity_mm_per_day,
  m.velocity_error_mm_per_day, m.velocity_window_s, m.acceleration_mm_per_day2, m.acceleration_error_mm_per_day2, m.tangential_angle_deg, m.v_eq_mm_per_day,
  m.inverse_velocity_day_per_mm, m.reasons, m.reasons_id, m.reasons_values
FROM movement m JOIN series s ON s.id = m.series_id""",
        "movement_now": _movement_now(dialect),
    }


def _movement_now(dialect: Dialect) -> str:
    """Return the view on current movement: the rate measured by each vote, or only the stage if no vote reads a series."""
    share = "coalesce(abs({0}.rate) / nullif(abs({0}.bound), 0), 0)".format
    mine = "(q.quantity = r.quantity OR r.quantity = 'displacement' AND substr(q.quantity, 1, 12) = 'displacement')"
    newest = "SELECT max(n.at) FROM movement n WHERE n.series_id"
    in_mm = "CASE WHEN r.unit = 'mm/day' THEN r.{0} END".format
    measured = f"""SELECT r.site, r.station, r.quantity, m.stage, m.trend, {in_mm("rate")} AS velocity_mm_per_day,
  {in_mm("error")} AS velocity_error_mm_per_day, r.rate, r.error AS rate_error, r.unit, r.window_s, r.newest_at, t.evaluated_at,
  {dialect.seconds_between("r.newest_at", "t.evaluated_at")} AS age_s, r.criterion, r.level,
  {dialect.level_name("p.levels", "r.level")} AS level_name, r.counted, r.bound, r.bound_level, {dialect.rounded(share("r"), 6)} AS bound_ratio,
  r.next_level, {dialect.level_name("p.levels", "r.next_level")} AS next_level_name, r.next_bound, r.next_rate, r.next_window_s,
  {dialect.rounded("abs(r.next_rate) / nullif(abs(r.next_bound), 0)", 6)} AS next_ratio
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
  {dialect.seconds_between("m.data_until", "m.at")}, NULL, NULL, NULL, NULL, {empty}, NULL, {empty}, NULL, NULL, {empty}, {empty}, {empty},
  {empty}
FROM series q JOIN site p ON p.id = q.site JOIN station k ON k.site = q.site AND k.id = q.station
JOIN movement m ON m.series_id = q.id AND m.at = ({newest} = q.id)
WHERE p.active AND k.declared AND k.on_slope
  AND NOT EXISTS (SELECT 1 FROM rate_now r WHERE r.site = q.site AND r.station = q.station AND {mine})"""
