"""Duty rotas, overrides, turns and handovers."""

from sqlalchemy import Column, Index, String, Table, Text

from monitor.storage.column_types import BigId, Instant, Json
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

duty_rota = Table(
    "duty_rota",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("team", String(64), nullable=False),
    Column("valid_from", Instant, nullable=False),
    Column("begins", String(10), nullable=False, comment="Monday of the first week of the plan"),
    Column("zone", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
    Index("ix_duty_rota_team", "site", "team"),
    comment="append only: plans of teams; each is in force until a later plan starts",
    info={"sealed": SealedColumns(only_added=True)},
)

duty_override = Table(
    "duty_override",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("team", String(64), nullable=False),
    Column("from_at", Instant, nullable=False),
    Column("to_at", Instant, nullable=False),
    Column("person_out", Text, nullable=True),
    Column("person_in", Text, nullable=True),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("withdrawn_at", Instant, nullable=True),
    Column("withdrawn_by", Text, nullable=True),
    Index("ix_duty_override_team", "site", "team", "to_at"),
    comment="changes of plans: a person replaces another one for a time",
    info={"sealed": SealedColumns()},
)

duty_turn = Table(
    "duty_turn",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("team", String(64), primary_key=True),
    Column("from_at", Instant, primary_key=True),
    Column("to_at", Instant, nullable=False),
    Column("day", String(10), nullable=False, comment="local date of the site"),
    Column("person", Text, nullable=True, comment="person on duty; null = nobody, so the whole team is notified"),
    Column("second_person", Text, nullable=True, comment="person who is notified next; null = nobody"),
    comment="people on duty, day by day; past rows do not change, future rows are written again after each change",
)

duty_handover = Table(
    "duty_handover",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("team", String(64), nullable=False),
    Column("since_at", Instant, nullable=True),
    Column("at", Instant, nullable=False),
    Column("outgoing", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("open_items", Json, nullable=False),
    Column("signed_at", Instant, nullable=True),
    Column("incoming", Text, nullable=True),
    Column("remark", Text, nullable=True),
    Column("withdrawn_at", Instant, nullable=True),
    Column("withdrawn_by", Text, nullable=True),
    Index("ix_duty_handover_team", "site", "team", "at"),
    comment="hand-overs between shifts, with the state of the site at that time",
    info={"sealed": SealedColumns()},
)
