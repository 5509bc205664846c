"""The outbox: messages of alerts to people, with the state of their delivery."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from monitor.storage.column_types import BigId, Instant, translatable_text
from monitor.storage.metadata import metadata
from monitor.storage.sealing import SealedColumns

# These columns change with every attempt to deliver a message, so that they are not sealed.
_PROGRESS: Final = frozenset({"attempts", "undelivered", "next_attempt_at", "last_error", "lease_owner", "lease_until"})
# States in which the delivery of a message ended. Earlier states are part of its progress.
_SETTLED: Final = frozenset({"delivered", "confirmed", "failed_final", "superseded"})


def _leave_out_unsettled_state(values: Mapping[str, Any]) -> Mapping[str, Any]:
    if values.get("state") in _SETTLED:
        return values
    return {name: value for name, value in values.items() if name != "state"}


notification = Table(
    "notification",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("alert_id", BigId, ForeignKey("alert.id"), nullable=False),
    Column("event_id", BigId, ForeignKey("alert_event.id"), nullable=False),
    Column("site", String(64), nullable=False),
    Column("ledger", String(16), nullable=False),
    Column("level", Integer, nullable=False),
    Column("level_name", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("exercise", Boolean, nullable=False),
    *translatable_text("subject", nullable=False),
    *translatable_text("body", nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("queued_at", Instant, nullable=False, info={"own_clock": True}),
    Column("sent_at", Instant, nullable=True),
    Column("confirmed_at", Instant, nullable=True),
    Column("next_attempt_at", Instant, nullable=True, info={"own_clock": True}),
    Column("superseded_by", BigId, nullable=True),
    *translatable_text("last_error", nullable=True),
    Column("lease_owner", Text, nullable=True),
    Column("lease_until", Instant, nullable=True, info={"own_clock": True}),
    Column("confirmed_by", Text, nullable=True),
    Column("confirmed_via", Text, nullable=True),
    Column("idempotency_key", String(64), nullable=False, unique=True),
    Column("provider_id", Text, nullable=True, comment="id of the message at the provider"),
    Column("provider_said", Text, nullable=True),
    Column("received_at", Instant, nullable=True, comment="when the device received the message"),
    Column(
        "undelivered",
        Integer,
        nullable=False,
        server_default="0",
        comment="number of reports that the provider could not deliver the message",
    ),
    Index("ix_notification_due", "state", "next_attempt_at"),
    Index("ix_notification_alert", "alert_id"),
    Index("ix_notification_provider", "provider_id"),
    Index("ix_notification_site", "site", "queued_at"),
    comment="the outbox: one message per event, recipient and channel",
    info={"sealed": SealedColumns(left_out=_PROGRESS, select_values=_leave_out_unsettled_state)},
)
