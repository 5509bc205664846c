"""Public views on trained models."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

model_transitions = Table(
    "model_transitions",
    view_metadata,
    Column("transition_id", BigInteger, comment="number of the change; it increases with time"),
    Column("at", Text, comment="time of the change", info={"unit": "time"}),
    Column("task", Text, comment="task of the model: forecast, anomaly or scene"),
    Column("site", Text, comment="site id; null for a model of all sites"),
    Column("model", Text, comment="name of the model"),
    Column("model_hash", Text, comment="SHA-256 of the checkpoint"),
    Column("from_state", Text, comment="state before; null when the model was registered"),
    Column("to_state", Text, comment="state after: candidate, active or retired"),
    Column("reason", Text, comment="reason of the change, one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("by", Text, comment="person who changed the state, or the service"),
    Column("by_kind", Text, comment="service, person or program"),
    comment="Changes of the state of trained models. Rows are only added.",
    info={"question": "Why is there no forecast, and from when on?"},
)

model_proofs = Table(
    "model_proofs",
    view_metadata,
    Column("proof_id", BigInteger, comment="number of the test"),
    Column("site", Text, comment="site id"),
    Column("kind", Text, comment="anomaly, forecast or scene"),
    Column("subject", Text, comment="subject of the test: a detector, a criterion of forecasts, or `outlines`"),
    Column("tested_at", Text, comment="time of the test", info={"unit": "time"}),
    Column("made_by", Text, comment="command that made the test"),
    Column("by", Text, comment="person who gave the command, or the service"),
    Column("rows_from", Text, comment="start of the tested period; null for images", info={"unit": "time"}),
    Column("rows_until", Text, comment="end of the tested period; null for images", info={"unit": "time"}),
    Column("rows_tested", Integer, comment="number of tested readings or images"),
    Column(
        "weights",
        Text,
        comment="hash of the tested weights; empty for forecasts, whose weights follow their past errors",
    ),
    Column("settings", Text, comment="digest of the settings of the subject in the site file"),
    Column("config_sha256", Text, comment="SHA-256 of that site file"),
    Column("passed", Boolean, comment="whether every condition was met"),
    Column("reasons", Text, comment="conditions that were not met"),
    Column("reasons_id", Text, comment="id of the message in `reasons`"),
    Column("reasons_values", Text, comment="values of that message, JSON"),
    Column("valid_until", Text, comment="end of the validity of the test, half a year after it", info={"unit": "time"}),
    comment=(
        "Tests that show whether a criterion that uses a model may count for the level of its site. "
        "Rows are only added; the newest test of a subject counts."
    ),
    info={"question": "Which readings were unusual, and how often was an alarm right?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "model_transitions": """SELECT id AS transition_id, at, task, site, kind AS model, model_hash, from_state, to_state,
  reason, reason_id, reason_values, "by", by_kind FROM model_transition""",
        "model_proofs": """SELECT id AS proof_id, site, kind, subject, tested_at, made_by, "by", rows_from, rows_until, rows_tested,
  weights, settings, config_sha256, passed, reasons, reasons_id, reasons_values, valid_until
FROM model_proof""",
    }
