"""Public views on trained models."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

model_transitions = Table(
    "model_transitions",
    view_metadata,
    Column("transition_id", BigInteger, comment="rising with time"),
    Column("at", Text, comment="when", info={"unit": "time"}),
    Column("task", Text, comment="forecast, anomaly, scene"),
    Column("site", Text, comment="site id, null for a model of all sites"),
    Column("model", Text, comment="name of the model"),
    Column("model_hash", Text, comment="SHA-256 of the checkpoint"),
    Column("from_state", Text, comment="before, null at its registration"),
    Column("to_state", Text, comment="after: candidate, active, retired"),
    Column("reason", Text, comment="why, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("by", Text, comment="service or person"),
    Column("by_kind", Text, comment="service, person, program"),
    comment="Every change of state of a trained model, as it happened. Rows are only added.",
    info={"question": "Why is there no forecast, and from when on?"},
)

model_proofs = Table(
    "model_proofs",
    view_metadata,
    Column("proof_id", BigInteger, comment="number"),
    Column("site", Text, comment="site id"),
    Column("kind", Text, comment="anomaly, forecast or scene"),
    Column("subject", Text, comment="what was tested: a detector, a criterion of forecasts, or `outlines`"),
    Column("tested_at", Text, comment="when", info={"unit": "time"}),
    Column("made_by", Text, comment="the command"),
    Column("by", Text, comment="who gave it, or the service"),
    Column("rows_from", Text, comment="begin of the time that it was tested on; null = images", info={"unit": "time"}),
    Column("rows_until", Text, comment="its end", info={"unit": "time"}),
    Column("rows_tested", Integer, comment="how many readings, or images"),
    Column(
        "weights",
        Text,
        comment=("hash of what was tested; empty of forecasts, whose weights follow their past errors"),
    ),
    Column("settings", Text, comment="digest of what the site file said of it"),
    Column("config_sha256", Text, comment="SHA-256 of that site file"),
    Column("passed", Boolean, comment="true where every condition was met"),
    Column("reasons", Text, comment="why it was not passed"),
    Column("reasons_id", Text, comment="id of the message in `reasons`"),
    Column("reasons_values", Text, comment="values of that message, JSON"),
    Column("valid_until", Text, comment="half a year later", info={"unit": "time"}),
    comment=(
        "Tests that show whether a criterion that rests on a model may count for the level of its site. "
        "Rows are only added; the newest of a subject counts."
    ),
    info={"question": "What looked odd, and how often was that right?"},
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
