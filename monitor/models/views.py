"""Public views on trained models."""

from typing import TypedDict

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata


class ModelGateRow(TypedDict):
    """A row of `model_gates`: the release state of a model at one horizon."""

    model: str
    model_hash: str
    model_state: str
    horizon_s: float
    state: str


model_gates = Table(
    "model_gates",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("model", Text, comment="name of the model"),
    Column("model_hash", Text, comment="SHA-256 of the checkpoint"),
    Column("model_state", Text, comment="of the checkpoint: candidate, shadow, active, retired"),
    Column("horizon_s", Double, comment="horizon", info={"unit": "s"}),
    Column("state", Text, comment="here: shadow (stored and scored, never shown) or active (may be shown)"),
    Column("since", Text, comment="since when", info={"unit": "time"}),
    Column("reason", Text, comment="why, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("issues", Integer, comment="scored issue times of the rolling record"),
    Column("mae", Double, comment="mean absolute error over them", info={"unit": "unit of the series"}),
    Column(
        "mae_best_baseline", Double, comment="the same of the best simple baseline", info={"unit": "unit of the series"}
    ),
    Column("skill", Double, comment="`1 - mae / mae_best_baseline`", info={"unit": "1"}),
    Column("covered_80", Double, comment="share inside the 80 % interval", info={"unit": "1"}),
    Column(
        "worst_covered_80", Double, comment="the same at the worst station with 20 scores, or null", info={"unit": "1"}
    ),
    Column("worst_station", Text, comment="which one: `station.quantity`"),
    Column("covered_95", Double, comment="share inside the 95 % interval", info={"unit": "1"}),
    Column(
        "crps",
        Double,
        comment="mean score of its whole fan: what it is judged by; null where `auto` was not scored beside it",
        info={"unit": "unit of the series"},
    ),
    Column("crps_auto", Double, comment="that of `auto` on the same targets", info={"unit": "unit of the series"}),
    Column("counts_from", Text, comment="scores of forecasts issued before do not count", info={"unit": "time"}),
    Column("judged_at", Text, comment="when it was judged last", info={"unit": "time"}),
    Column("lacking", Text, comment="in the shadow: what it lacks"),
    Column("lacking_id", Text, comment="id of the message in `lacking`"),
    Column("lacking_values", Text, comment="values of that message, JSON"),
    Column(
        "earliest_at",
        Text,
        comment="in the shadow: when it, or its successor, can be shown at the earliest",
        info={"unit": "time"},
    ),
    comment=(
        "How every trained forecaster stands at each horizon: in the shadow, or shown, and the rolling "
        "record (newest 30 scored issue times) that says so."
    ),
    info={"question": "Why is there no forecast, and from when on?", "row": ModelGateRow},
)

model_transitions = Table(
    "model_transitions",
    view_metadata,
    Column("transition_id", BigInteger, comment="rising with time"),
    Column("at", Text, comment="when", info={"unit": "time"}),
    Column("task", Text, comment="forecast, anomaly, scene"),
    Column("site", Text, comment="site id, null for a model of all sites"),
    Column("model", Text, comment="name of the model"),
    Column("model_hash", Text, comment="SHA-256 of the checkpoint"),
    Column("horizon_s", Double, comment="horizon, null: the checkpoint as a whole", info={"unit": "s"}),
    Column("from_state", Text, comment="before, null at its registration"),
    Column("to_state", Text, comment="after: candidate, shadow, active, retired"),
    Column("reason", Text, comment="why, in one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("by", Text, comment="service or person"),
    Column("by_kind", Text, comment="service, person, program"),
    Column("second_by", Text, comment="second person, where one was needed"),
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
        comment=(
            "hash of what was tested; of forecasts a digest of the checkpoints that are shown; empty = it has none"
        ),
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
        "model_gates": """SELECT m.site, m.kind AS model, m.model_hash, m.state AS model_state, g.horizon_s, g.state, g.since,
  g.reason, g.reason_id, g.reason_values,
  g.issues, g.mae, g.baseline_mae AS mae_best_baseline, g.skill, g.coverage_80 AS covered_80, g.worst_80 AS worst_covered_80,
  g.worst_station, g.coverage_95 AS covered_95, g.crps, g.baseline_crps AS crps_auto, g.counts_from, g.judged_at,
  g.lacking, g.lacking_id, g.lacking_values, g.earliest_at
FROM model m JOIN model_gate g ON g.model_hash = m.model_hash""",
        "model_transitions": """SELECT id AS transition_id, at, task, site, kind AS model, model_hash, horizon_s, from_state, to_state,
  reason, reason_id, reason_values, "by", by_kind, second_by FROM model_transition""",
        "model_proofs": """SELECT id AS proof_id, site, kind, subject, tested_at, made_by, "by", rows_from, rows_until, rows_tested,
  weights, settings, config_sha256, passed, reasons, reasons_id, reasons_values, valid_until
FROM model_proof""",
    }
