"""Public views on seasonal components of series."""

from sqlalchemy import Column, Double, Integer, Table, Text

from monitor.api.store import SERIES_COLUMNS, Dialect, view_metadata

series_seasons = Table(
    "series_seasons",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("unit", Text, comment="unit of the values of this row"),
    Column("computed_at", Text, comment="time of the computation", info={"unit": "time"}),
    Column("grid", Text, comment="`day` or `month`: a row is the mean of its readings"),
    Column("period_rows", Integer, comment="rows of one year: 365 or 12"),
    Column("grid_rows", Integer, comment="number of rows from the first to the last one"),
    Column("first_at", Text, comment="start of the first row, or null", info={"unit": "time"}),
    Column("last_at", Text, comment="start of the last row, or null", info={"unit": "time"}),
    Column(
        "reason",
        Text,
        comment="why there is no split, such as `needs two full years: 14 of 24 months`; empty if there is one",
    ),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("method", Text, comment="`STL`, or `MSTL` if the daily season was computed too; empty without a split"),
    Column(
        "trend_strength",
        Double,
        comment=("1 minus the variance of the remainder divided by that of trend and remainder; null without a split"),
        info={"unit": "1"},
    ),
    Column(
        "season_strength",
        Double,
        comment="the same for the season, minus the value that noise alone gives in this number of years",
        info={"unit": "1"},
    ),
    Column(
        "season_range",
        Double,
        comment="highest minus lowest value of the season in the last year",
        info={"unit": "`unit`"},
    ),
    Column(
        "day_strength",
        Double,
        comment=(
            "the same for the daily season, with trend and remainder of parts of three hours; noise alone gives "
            "0.04; null without `MSTL`"
        ),
        info={"unit": "1"},
    ),
    Column(
        "day_range",
        Double,
        comment="highest minus lowest part of the usual day (`season_hours`); null without `MSTL`",
        info={"unit": "`unit`"},
    ),
    Column("parameters", Text, comment="settings of the method and the version of statsmodels", info={"unit": "JSON"}),
    Column("code_version", Text, comment="version of Slopeward that computed the split"),
    comment=(
        "Split of each series into trend, season and remainder by STL or MSTL, or the reason why there is none: one "
        "row per series, replaced every night. No forecast uses it, because it is computed from the whole record."
    ),
    info={"question": "What is usual for the season and the hour?"},
)

season_components = Table(
    "season_components",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("unit", Text, comment="unit of the values of this row"),
    Column("grid", Text, comment="`day` or `month`"),
    Column("at", Text, comment="start of the row", info={"unit": "time"}),
    Column(
        "value",
        Double,
        comment="mean of the readings as known at `computed_at`, offsets subtracted",
        info={"unit": "`unit`"},
    ),
    Column("trend", Double, comment="slow change", info={"unit": "`unit`"}),
    Column("season", Double, comment="part that repeats every year", info={"unit": "`unit`"}),
    Column("remainder", Double, comment="`value` - `trend` - `season`", info={"unit": "`unit`"}),
    comment="Rows of each split that contain readings: `value` = `trend` + `season` + `remainder`.",
    info={"question": "What is usual for the season and the hour?"},
)

season_hours = Table(
    "season_hours",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("unit", Text, comment="unit of the values of this row"),
    Column("hour_utc", Integer, comment="hour at which the part of the day starts: 0, 3, ... 21"),
    Column("season", Double, comment="part that repeats every day", info={"unit": "`unit`"}),
    comment=(
        "Usual day of each series that was split by MSTL: the daily season of the newest 61 days, in parts of three "
        "hours."
    ),
    info={"question": "What is usual for the season and the hour?"},
)


def select_views(dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "series_seasons": f"""SELECT {SERIES_COLUMNS}, s.unit AS unit, n.computed_at, n.grid, n.period_rows, n.rows AS grid_rows, n.first_at,
  n.last_at, n.reason, n.reason_id, n.reason_values, n.method, n.trend_strength, n.season_strength, n.season_range, n.day_strength, n.day_range,
  n.parameters, n.code_version
FROM season n JOIN series s ON s.id = n.series_id""",
        "season_hours": f"""SELECT {SERIES_COLUMNS}, s.unit AS unit, CAST({dialect.item(0)} AS integer) AS hour_utc,
  CAST({dialect.item(1)} AS double precision) AS season
FROM season n JOIN series s ON s.id = n.series_id {dialect.rows_of("n.day_parts")}""",
        "season_components": f"""SELECT {SERIES_COLUMNS}, s.unit AS unit, n.grid, {dialect.item(0)} AS at,
  {", ".join(f"CAST({dialect.item(k)} AS double precision) AS {name}" for k, name in enumerate(("value", "trend", "season", "remainder"), 1))}
FROM season n JOIN series s ON s.id = n.series_id {dialect.rows_of("n.components")}""",
    }
