"""Public views on anomalies, their labels and budgets."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, Table, Text

from monitor.api.store import SERIES_COLUMNS, Dialect, view_metadata

anomalies = Table(
    "anomalies",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity, see interfaces: `displacement_east`, `rain`, ..."),
    Column("at", Text, comment="time of the reading that was scored", info={"unit": "time"}),
    Column("detector", Text, comment="name"),
    Column("score", Double, comment="the higher, the more unusual", info={"unit": "1"}),
    Column("threshold", Double, comment="threshold at that time: the counted one times `factor`", info={"unit": "1"}),
    Column(
        "budget",
        Double,
        comment="false alarms per sensor and month for which the threshold was chosen",
        info={"unit": "1/month"},
    ),
    Column(
        "kind",
        Text,
        comment=(
            "shape of the readings so far: spike, step, movement, drift, noise, unknown; for a check stuck, "
            "replay, unit, timing"
        ),
    ),
    Column(
        "alerted",
        Boolean,
        comment=(
            "whether the score is above the threshold and no echo of an earlier anomaly of the series. An echo has "
            "a `score` above its `threshold`, and is not alerted"
        ),
    ),
    Column("model_hash", Text, comment="SHA-256 of the checkpoint; null for rules"),
    Column("factor", Double, comment="factor from labels, which `threshold` includes", info={"unit": "1"}),
    Column(
        "compared_with",
        Text,
        comment=(
            "what the score was compared with: the past of the series, and how many other series, with their "
            "names for an alert"
        ),
    ),
    Column("compared_with_id", Text, comment="id of the message in `compared_with`"),
    Column("compared_with_values", Text, comment="values of that message, JSON"),
    comment="Scores of the detectors, including those below the threshold.",
    info={"question": "Which readings were unusual, and how often was an alarm right?"},
)

anomaly_labels = Table(
    "anomaly_labels",
    view_metadata,
    Column("label_id", BigInteger, comment="number of the label"),
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("quantity", Text, comment="canonical quantity"),
    Column("from_at", Text, comment="first reading of the anomaly", info={"unit": "time"}),
    Column("to_at", Text, comment="last reading", info={"unit": "time"}),
    Column("verdict", Text, comment="confirmed, dismissed or withdrawn"),
    Column(
        "cause",
        Text,
        comment=(
            "unknown, movement, spike, step, drift, stuck, noise, gap, clock, unit, battery, snow_ice, "
            "weather, work, maintenance, common_mode"
        ),
    ),
    Column("by", Text, comment="person who gave the label"),
    Column("note", Text, comment="note of the person"),
    Column("at", Text, comment="time of the label", info={"unit": "time"}),
    comment="Labels that people gave to anomalies. Rows are only added; the newest one counts.",
    info={"question": "Which readings were unusual, and how often was an alarm right?"},
)

anomaly_budgets = Table(
    "anomaly_budgets",
    view_metadata,
    Column("budget_id", BigInteger, comment="number of the measurement"),
    Column("site", Text, comment="site id"),
    Column("detector", Text, comment="name of the detector"),
    Column("at", Text, comment="time of the measurement", info={"unit": "time"}),
    Column(
        "from_at",
        Text,
        comment="start of the measured period: 180 days before `at`, or when a person last set the factor",
        info={"unit": "time"},
    ),
    Column(
        "sensor_months",
        Double,
        comment="scored readings of working instruments, times their interval",
        info={"unit": "sensor-months"},
    ),
    Column("reported", Integer, comment="alarms that were shown and have no known cause"),
    Column("labelled", Integer, comment="number of reported alarms with a label"),
    Column("dismissed", Integer, comment="number of reported alarms that a person dismissed"),
    Column(
        "known_cause",
        Integer,
        comment="further alarms while the instrument was under work, silent, stuck, or had another health notice",
    ),
    Column(
        "rate_per_sensor_month",
        Double,
        comment="false alarms; null = not measured, because there are fewer than ten labels",
        info={"unit": "1/month"},
    ),
    Column("rate_low_per_sensor_month", Double, comment="lower end of its 80 % interval", info={"unit": "1/month"}),
    Column("rate_high_per_sensor_month", Double, comment="upper end of that interval", info={"unit": "1/month"}),
    Column("budget_per_sensor_month", Double, comment="budget of the detector", info={"unit": "1/month"}),
    Column("factor_before", Double, comment="factor on the threshold before the measurement"),
    Column("factor", Double, comment="factor after the measurement, 1 to 1.5"),
    Column("reason", Text, comment="reason of the factor"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("by", Text, comment="person who set the factor, or the service"),
    comment=(
        "False alarms of each detector, measured once a week, and the factor on its threshold from then "
        "on. Rows are only added; the newest one of a detector counts."
    ),
    info={"question": "Which readings were unusual, and how often was an alarm right?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "anomalies": f"""SELECT {SERIES_COLUMNS}, x.at, x.detector, x.score, x.threshold, x.budget, x.kind, x.alerted, x.model_hash,
  coalesce(x.factor, 1.0) AS factor, x.compared_with, x.compared_with_id, x.compared_with_values
FROM series s JOIN anomaly x ON x.series_id = s.id""",
        "anomaly_budgets": """SELECT id AS budget_id, site, detector, at, from_at, sensor_months, reported, labelled, dismissed,
  known_cause, rate AS rate_per_sensor_month, rate_low AS rate_low_per_sensor_month,
  rate_high AS rate_high_per_sensor_month, budget AS budget_per_sensor_month, factor_before, factor, reason, reason_id, reason_values, "by"
FROM anomaly_budget""",
        "anomaly_labels": f"""SELECT l.id AS label_id, {SERIES_COLUMNS}, l.from_at, l.to_at, l.verdict, l.cause, l."by", l.note, l.at
FROM series s JOIN anomaly_label l ON l.series_id = s.id""",
    }
