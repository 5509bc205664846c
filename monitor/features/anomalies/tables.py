"""Anomaly scores, labels, and false-alarm budgets."""

from sqlalchemy import Boolean, Column, Double, Index, Integer, String, Table, Text

from monitor.api.store import BigId, Instant, Json, SealedColumns, finite, metadata, translatable_text

anomaly = Table(
    "anomaly",
    metadata,
    Column("series_id", BigId, primary_key=True, info={"refers_to": "series.id"}),
    Column("at", Instant, primary_key=True),
    Column("detector", String(64), primary_key=True),
    Column("score", Double, nullable=False),
    Column("threshold", Double, nullable=False),
    Column("budget", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("alerted", Boolean, nullable=False),
    Column("model_hash", String(64), nullable=True),
    Column("scored_at", Instant, nullable=False),
    Column(
        "factor",
        Double,
        nullable=True,
        comment="factor from labels on the counted threshold; null = 1",
    ),
    *translatable_text("compared_with", nullable=True, comment="what the score was compared with"),
    *finite("anomaly", "score", "threshold"),
)

anomaly_budget = Table(
    "anomaly_budget",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("detector", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("from_at", Instant, nullable=False),
    Column("sensor_months", Double, nullable=False),
    Column("reported", Integer, nullable=False),
    Column("labelled", Integer, nullable=False),
    Column("dismissed", Integer, nullable=False),
    Column("known_cause", Integer, nullable=False),
    Column("rate", Double, nullable=True),
    Column("rate_low", Double, nullable=True),
    Column("rate_high", Double, nullable=True),
    Column("budget", Double, nullable=False),
    Column("factor_before", Double, nullable=False),
    Column("factor", Double, nullable=False),
    *translatable_text("reason", nullable=False),
    Column("by", Text, nullable=False),
    Column("by_kind", String(16), nullable=False),
    Column("evidence", Json, nullable=False, comment="facts that the factor was computed from"),
    Index("ix_anomaly_budget_site", "site", "detector", "id"),
    comment="measured false alarms of a detector, and the factor on its threshold; append only, the newest counts",
    info={"sealed": SealedColumns(only_added=True)},
)

anomaly_label = Table(
    "anomaly_label",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("series_id", BigId, nullable=False, info={"refers_to": "series.id"}),
    Column("from_at", Instant, nullable=False),
    Column("to_at", Instant, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("cause", String(32), nullable=False),
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Index("ix_anomaly_label_series", "series_id", "from_at"),
    comment="labels of the anomalies of a series in a time; append only, the newest counts",
    info={"sealed": SealedColumns(only_added=True)},
)
