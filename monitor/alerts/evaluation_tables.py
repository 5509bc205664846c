"""Results of evaluations: the level of each site, the state of each station, and the evidence of level changes."""

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Boolean, Column, Double, Index, Integer, String, Table, Text

from monitor.storage.column_types import BigId, Instant, Json, translatable_text
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

# Keys of the decision memory that only people and earlier decisions determine, each with its empty value. They are
# sealed. Every evaluation computes the other keys again.
_SEALED_MEMORY: Final[Mapping[str, Any]] = {
    "floor": 0,
    "answers": {},
    "signed": {},
    "asked": {},
    "heights": {},
    "unheard": {},
}

# Keys of the decision memory that contain times of the clock of the service, in seconds since 1970. Other times in the
# memory, such as the deadline of a vote, depend on the times of readings.
_OWN_CLOCK_KEYS: Final = frozenset({"started_s", "since_s", "seen_s", "known_s", "asked", "common", "unheard", "held"})


def _select_sealed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Replace the decision memory of a row of `site_state` by its keys in `_SEALED_MEMORY` that are not empty.

    `level` and `level_source` of the memory are included if they differ from the columns of the row. A memory that is
    not a JSON object was not written by the service and is sealed as text.
    """
    sealed = {name: value for name, value in values.items() if name != "state"}
    memory = str(values.get("state", "{}"))
    usual = {**_SEALED_MEMORY, "level": sealed.get("level"), "level_source": sealed.get("level_source")}
    try:
        sealed_memory = {
            f"state.{key}": value for key, value in json.loads(memory).items() if key in usual and value != usual[key]
        }
    except (ValueError, AttributeError):
        sealed_memory = {"state": memory}
    return {**sealed, **sealed_memory}


# The current level and decision memory of each site. Each evaluation replaces the row.
site_state = Table(
    "site_state",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("level", Integer, nullable=False),
    Column("level_source", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("evaluated_at", Instant, nullable=False),
    Column("observability", Text, nullable=False),
    Column("reachable_level", Integer, nullable=False),
    Column("witnesses_available", Integer, nullable=False),
    Column("health", Text, nullable=False),
    Column("movement_stage", Text, nullable=True),
    Column("trend", Text, nullable=True),
    Column("newest_at", Instant, nullable=True),
    Column("config_sha256", Text, nullable=False),
    Column(
        "state",
        Json,
        nullable=False,
        comment="memory of decisions: votes, jumps, answers, supporters of the level",
        info={"own_clock_keys": _OWN_CLOCK_KEYS},
    ),
    Column(
        "catching_up",
        Boolean,
        nullable=True,
        comment="older readings were still being stored: levels could rise, silence was not judged",
    ),
    info={
        "sealed": SealedColumns(
            only=frozenset({"site", "level", "level_source", "since", "state"}), select_values=_select_sealed
        )
    },
)

# The current state of each station. Each evaluation replaces the row.
station_state = Table(
    "station_state",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("station", String(64), primary_key=True, info={"names": "station"}),
    Column("state", Text, nullable=False),
    Column("since", Instant, nullable=False),
    *translatable_text("reason", nullable=False),
    Column("newest_at", Instant, nullable=True),
    Column("expected_interval_s", Double, nullable=True),
    Column("missing_share_24h", Double, nullable=True),
    Column("votes", Boolean, nullable=False),
)

# The latest result of each criterion on forecasts, per station and level. An evaluation that changes a result replaces
# the rows of its site.
forecast_chance = Table(
    "forecast_chance",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("criterion", String(64), primary_key=True),
    Column("station", String(64), primary_key=True, info={"names": "station"}),
    Column("level", Integer, primary_key=True),
    Column("evaluated_at", Instant, nullable=False),
    Column("data_until", Instant, nullable=False),
    Column("window_s", Double, nullable=False),
    Column("over_mm_per_day", Double, nullable=False),
    Column("chance_from", Double, nullable=False),
    Column("chance_to", Double, nullable=False),
    Column("probability", Double, nullable=False),
    Column("crossed", Boolean, nullable=False),
    Column("model", Text, nullable=False),
    Column("config_sha256", Text, nullable=False),
)

# The rate that each rate criterion measured last, and the bounds in force.
rate_now = Table(
    "rate_now",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("criterion", String(64), primary_key=True),
    Column("station", String(64), primary_key=True, info={"names": "station"}),
    Column("quantity", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("counted", Boolean, nullable=False),
    Column("newest_at", Instant, nullable=False),
    Column("rate", Double, nullable=False),
    Column("error", Double, nullable=False),
    Column("least", Double, nullable=False),
    Column("window_s", Double, nullable=False),
    Column("bound", Double, nullable=False),
    Column("bound_level", Integer, nullable=False),
    Column("next_level", Integer, nullable=True),
    Column("next_bound", Double, nullable=True),
    Column("next_rate", Double, nullable=True),
    Column("next_window_s", Double, nullable=True),
)

# Every evaluation that was run.
evaluation = Table(
    "evaluation",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("trigger", Text, nullable=False, comment="data, tick, person, start"),
    Column("level", Integer, nullable=False),
    Column("observability", Text, nullable=False),
    Column("reachable_level", Integer, nullable=False),
    Column("known_until", Instant, nullable=True, comment="newest received_at of its inputs"),
    Column("config_sha256", Text, nullable=False),
    Column("digest", Text, nullable=False, comment="SHA-256 of the memory after it"),
    Index("ix_evaluation_site_at", "site", "at"),
)

decision = Table(
    "decision",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("code_version", String(64), nullable=False),
    Column("config_sha256", String(64), nullable=False),
    Column("evidence_sha256", String(64), nullable=False),
    # SQLite has to read a long text in full to get at the columns after it, so this column is the last.
    Column("evidence", Text, nullable=False, info={"sha256": "evidence_sha256"}),
    comment="frozen inputs of a level change: recomputable bit for bit",
    info={"sealed": SealedColumns(left_out=frozenset({"evidence"}), only_added=True)},
)

outage = Table(
    "outage",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("cause", Text, nullable=False),
    Column("from_at", Instant, nullable=False),
    Column("back_at", Instant, nullable=False),
    Column("drained_at", Instant, nullable=False),
    Column("counted_at", Instant, nullable=True),
    Column("counts_until", Instant, nullable=False),
    comment="a time in which no readings were stored, until older readings were stored",
)
