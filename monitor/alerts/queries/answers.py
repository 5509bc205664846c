"""Load who was notified of an alert, who confirmed it, and which alerts are put aside."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, select

from monitor.alerts.notification import DeliveryState
from monitor.alerts.outbox_tables import notification
from monitor.alerts.records import UNCONFIRMED, AlertState
from monitor.alerts.states import PUT_ASIDE
from monitor.alerts.tables import alert, alert_event
from monitor.storage.rows import load_records, match_given


@dataclass(frozen=True, slots=True)
class RecipientDelivery:
    """Delivery of all messages of one alert to one recipient.

    Attributes:
        first_at: When the first message was queued.
        sent_at: When a channel accepted the newest message; None if none did.
        failed: Whether all channels failed for good.
    """

    recipient: str
    first_at: datetime
    sent_at: datetime | None
    confirmed_at: datetime | None
    failed: bool


@dataclass(frozen=True, slots=True)
class AlertDeliveries:
    """The recipients of one alert, in the order in which they were notified."""

    deliveries: tuple[RecipientDelivery, ...] = ()

    @property
    def confirmed(self) -> list[str]:
        """Names of the recipients who confirmed."""
        return [delivery.recipient for delivery in self.deliveries if delivery.confirmed_at is not None]

    @property
    def since(self) -> datetime | None:
        """When the first recipient was notified; None if nobody was."""
        return min((delivery.first_at for delivery in self.deliveries), default=None)


def load_answers(connection: Connection, alert_ids: Collection[int]) -> dict[int, AlertDeliveries]:
    """Return who was notified of each alert and who confirmed it.

    Messages from before the last time at which an acknowledged alert rose do not count: they contain an older level.
    """
    n, e = notification.c, alert_event.c
    ids = sorted(alert_ids)
    has_risen = (e.from_state == AlertState.ACKNOWLEDGED, e.to_state == AlertState.UNACKNOWLEDGED)
    # The event with which each acknowledged alert last became unacknowledged, because its level rose.
    last_rise = (
        select(e.alert_id, func.max(e.id).label("event_id"))
        .where(e.alert_id.in_(ids), *has_risen)
        .group_by(e.alert_id)
        .subquery()
    )
    query = (
        select(n.alert_id, n.recipient, n.queued_at, n.sent_at, n.confirmed_at, n.state)
        .outerjoin(last_rise, last_rise.c.alert_id == n.alert_id)
        .where(n.alert_id.in_(ids), n.event_id >= func.coalesce(last_rise.c.event_id, 0))
    )
    rows = connection.execute(query.order_by(n.id)) if ids else ()
    messages: dict[int, dict[str, list[Any]]] = {}
    for row in rows:
        messages.setdefault(row.alert_id, {}).setdefault(row.recipient, []).append(row)
    return {
        alert_id: AlertDeliveries(
            tuple(
                RecipientDelivery(
                    name,
                    first_at=sent[0].queued_at,
                    sent_at=max((message.sent_at for message in sent if message.sent_at), default=None),
                    confirmed_at=min((message.confirmed_at for message in sent if message.confirmed_at), default=None),
                    failed=all(message.state == DeliveryState.FAILED_FINAL for message in sent),
                )
                for name, sent in by_recipient.items()
            )
        )
        for alert_id, by_recipient in messages.items()
    }


def load_confirmed(connection: Connection, event_ids: Collection[int]) -> set[int]:
    """Return the ids of the alerts of which a recipient confirmed a message about one of these events."""
    n = notification.c
    of_events = (n.event_id.in_(sorted(event_ids)), n.confirmed_at.is_not(None))
    return set(connection.execute(select(n.alert_id).where(*of_events)).scalars()) if event_ids else set()


def load_states(connection: Connection, alert_ids: Collection[int]) -> dict[int, tuple[AlertState, datetime]]:
    """Return the state of each alert, and since when it has this state."""
    a, e = alert.c, alert_event.c
    entered = (e.alert_id == a.id, e.to_state == a.state, e.from_state.is_distinct_from(e.to_state))
    query = select(a.id, a.state, func.max(e.at).label("since")).join(alert_event, and_(*entered))
    rows = connection.execute(query.where(a.id.in_(sorted(alert_ids))).group_by(a.id, a.state)) if alert_ids else ()
    return {row.id: (AlertState(row.state), row.since) for row in rows}


def load_unconfirmed(connection: Connection) -> set[tuple[str, str]]:
    """Return site and key of each open alarm that nobody confirmed an alert (see `UNCONFIRMED`)."""
    a = alert.c
    has_ended = a.state == str(AlertState.RETURNED_UNACKNOWLEDGED)
    rows = connection.execute(
        select(a.site, a.key).where(a.closed_at.is_(None), a.key.like(f"{UNCONFIRMED}%"), ~has_ended)
    )
    return {(row.site, row.key) for row in rows}


@dataclass(frozen=True, slots=True)
class PutAsideAlert:
    """An open alert that is shelved, suppressed or out of service.

    Attributes:
        at: When it was put aside.
        actor: Who put it aside.
        until_at: When it returns by itself, if it does.
        why: Why it was put aside.
    """

    alert_id: int
    site: str
    ledger: str
    level: int
    state: str
    reason: str
    at: datetime
    actor: str
    until_at: datetime | None
    why: str


def load_put_aside(connection: Connection, site: str | frozenset[str] | None = None) -> list[PutAsideAlert]:
    """Return the open alerts that are put aside, by their number."""
    a, e = alert.c, alert_event.c
    query = (
        select(a.id.label("alert_id"), a.site, a.ledger, a.level, a.state, e.at, e.actor, e.until_at)
        .add_columns(a.reason, a.reason_id, a.reason_values)
        .add_columns(e.reason.label("why"), e.reason_id.label("why_id"), e.reason_values.label("why_values"))
        .join(alert_event, e.alert_id == a.id)
        .where(a.closed_at.is_(None), a.state.in_([str(state) for state in PUT_ASIDE]), e.to_state == a.state)
        # Only the events that put the alert aside. A later note has the same state before and after it.
        .where(e.from_state != e.to_state, *match_given(a.site, site))
        .order_by(a.id, e.sequence.desc())
    )
    newest: dict[int, PutAsideAlert] = {}
    for put_aside in load_records(connection, PutAsideAlert, query):
        newest.setdefault(put_aside.alert_id, put_aside)
    return list(newest.values())
