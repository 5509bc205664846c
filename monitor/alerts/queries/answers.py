"""Who was notified of an alert, what became of it, and who confirmed: for the headline, the call list and the alarm."""

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
    """What became of the messages of one alert to one recipient."""

    recipient: str
    first_at: datetime
    sent_at: datetime | None  # of the newest that a channel took
    confirmed_at: datetime | None
    failed: bool  # every channel refused for good


@dataclass(frozen=True, slots=True)
class AlertDeliveries:
    """The recipients of one alert, in the order in which they were notified."""

    deliveries: tuple[RecipientDelivery, ...] = ()

    @property
    def confirmed(self) -> list[str]:
        """Who confirmed."""
        return [one.recipient for one in self.deliveries if one.confirmed_at is not None]

    @property
    def since(self) -> datetime | None:
        """When the first of them was notified."""
        return min((one.first_at for one in self.deliveries), default=None)


def load_answers(connection: Connection, alert_ids: Collection[int]) -> dict[int, AlertDeliveries]:
    """By alert: who was notified of it and who confirmed; what was put aside for another message does not count.

    What was sent before an acknowledged alert rose does not count either: of what it says now nobody heard by that.
    """
    n, e = notification.c, alert_event.c
    ids = sorted(alert_ids)
    again = (e.from_state == AlertState.ACKNOWLEDGED, e.to_state == AlertState.UNACKNOWLEDGED)
    rose = select(e.alert_id, func.max(e.id).label("event_id")).where(e.alert_id.in_(ids), *again).group_by(e.alert_id)
    since = rose.subquery()
    wanted = (
        select(n.alert_id, n.recipient, n.queued_at, n.sent_at, n.confirmed_at, n.state)
        .outerjoin(since, since.c.alert_id == n.alert_id)
        .where(n.alert_id.in_(ids), n.event_id >= func.coalesce(since.c.event_id, 0))
    )
    rows = connection.execute(wanted.order_by(n.id)) if ids else ()
    found: dict[int, dict[str, list[Any]]] = {}
    for row in rows:
        found.setdefault(row.alert_id, {}).setdefault(row.recipient, []).append(row)
    return {
        alert_id: AlertDeliveries(
            tuple(
                RecipientDelivery(
                    name,
                    mine[0].queued_at,
                    max((m.sent_at for m in mine if m.sent_at), default=None),
                    min((m.confirmed_at for m in mine if m.confirmed_at), default=None),
                    all(m.state == DeliveryState.FAILED_FINAL for m in mine),
                )
                for name, mine in people.items()
            )
        )
        for alert_id, people in found.items()
    }


def load_confirmed(connection: Connection, event_ids: Collection[int]) -> set[int]:
    """Alerts of which a recipient confirmed a message of one of these events: a word on an earlier one is no answer."""
    n = notification.c
    of_events = (n.event_id.in_(sorted(event_ids)), n.confirmed_at.is_not(None))
    return set(connection.execute(select(n.alert_id).where(*of_events)).scalars()) if event_ids else set()


def load_states(connection: Connection, alert_ids: Collection[int]) -> dict[int, tuple[AlertState, datetime]]:
    """In which state alerts are, and since when."""
    a, e = alert.c, alert_event.c
    entered = (e.alert_id == a.id, e.to_state == a.state, e.from_state.is_distinct_from(e.to_state))
    wanted = select(a.id, a.state, func.max(e.at).label("since")).join(alert_event, and_(*entered))
    rows = connection.execute(wanted.where(a.id.in_(sorted(alert_ids))).group_by(a.id, a.state)) if alert_ids else ()
    return {row.id: (AlertState(row.state), row.since) for row in rows}


def load_unconfirmed(connection: Connection) -> set[tuple[str, str]]:
    """Site and key of the open alarms that nobody confirmed an alert."""
    a = alert.c
    over = str(AlertState.RETURNED_UNACKNOWLEDGED)
    rows = connection.execute(
        select(a.site, a.key).where(a.closed_at.is_(None), a.key.like(f"{UNCONFIRMED}%"), a.state != over)
    )
    return {(row.site, row.key) for row in rows}


@dataclass(frozen=True, slots=True)
class PutAsideAlert:
    """An open alert that is shelved, suppressed or out of service: who put it there, when, why and until when."""

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
    """Alerts that are put aside, by number."""
    a, e = alert.c, alert_event.c
    wanted = (
        select(a.id.label("alert_id"), a.site, a.ledger, a.level, a.state, e.at, e.actor, e.until_at)
        .add_columns(a.reason, a.reason_id, a.reason_values)
        .add_columns(e.reason.label("why"), e.reason_id.label("why_id"), e.reason_values.label("why_values"))
        .join(alert_event, e.alert_id == a.id)
        .where(a.closed_at.is_(None), a.state.in_([str(one) for one in PUT_ASIDE]), e.to_state == a.state)
        .where(e.from_state != e.to_state, *match_given(a.site, site))  # a note changes nothing
        .order_by(a.id, e.sequence.desc())
    )
    found: dict[int, PutAsideAlert] = {}
    for one in load_records(connection, PutAsideAlert, wanted):
        found.setdefault(one.alert_id, one)
    return list(found.values())
