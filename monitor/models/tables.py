"""Registry of trained models: versions, transitions and validation results."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text

from monitor.storage.column_types import BigId, Instant, Json, translatable_text
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

model = Table(
    "model",
    metadata,
    Column("model_hash", String(64), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("task", String(32), nullable=False, comment="forecast, anomaly, scene"),
    Column("site", String(64), nullable=True),
    Column("state", String(16), nullable=False, comment="candidate (scene only), active, retired"),
    Column("path", Text, nullable=False),
    Column("card", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("promoted_at", Instant, nullable=True),
    Column("retired_at", Instant, nullable=True),
    *translatable_text("reason", nullable=True),
)

model_transition = Table(
    "model_transition",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("model_hash", String(64), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("task", String(32), nullable=False),
    Column("site", String(64), nullable=True),
    Column("at", Instant, nullable=False),
    Column("from_state", String(16), nullable=True),
    Column("to_state", String(16), nullable=False),
    *translatable_text("reason", nullable=False),
    Column("by", Text, nullable=False),
    Column("by_kind", Text, nullable=False),
    Index("ix_model_transition_hash", "model_hash", "id"),
    comment="append only",
    info={"sealed": SealedColumns(only_added=True)},
)

model_proof = Table(
    "model_proof",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("tested_at", Instant, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("by_kind", String(16), nullable=False),
    Column("rows_from", Instant, nullable=True),
    Column("rows_until", Instant, nullable=True),
    Column("rows_tested", Integer, nullable=False),
    Column("weights", String(64), nullable=False),
    Column("settings", String(64), nullable=False),
    Column("config_sha256", String(64), nullable=False),
    Column("passed", Boolean, nullable=False),
    *translatable_text("reasons", nullable=False),
    Column("result", Json, nullable=False),
    Column("valid_until", Instant, nullable=False),
    Index("ix_model_proof_subject", "site", "kind", "subject", "tested_at"),
    comment=(
        "whether a criterion that rests on a model may count for the level of its site; append only, the newest counts"
    ),
    info={"sealed": SealedColumns(only_added=True)},
)
