"""Who was notified of an alert, what became of it, and who confirmed: for the headline, the call list and the alarm."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from monitor.domain.alert import UNCONFIRMED, AlertState, DeliveryState
from monitor.store.schema import tables as t


@dataclass(frozen=True, slots=True)
class Told:
    """What became of the messages of one alert to one recipient."""

    recipient: str
    first_at: datetime
    sent_at: datetime | None  # of the newest that a channel took
    confirmed_at: datetime | None
    failed: bool  # every channel refused for good


@dataclass(frozen=True, slots=True)
class Answers:
    """The recipients of one alert, in the order in which they were notified."""

    told: tuple[Told, ...] = ()

    @property
    def confirmed(self) -> list[str]:
        """Who confirmed."""
        return [one.recipient for one in self.told if one.confirmed_at is not None]

    @property
    def since(self) -> datetime | None:
        """When the first of them was notified."""
        return min((one.first_at for one in self.told), default=None)


def load_answers(c: Connection, alert_ids: Collection[int]) -> dict[int, Answers]:
    """By alert: who was notified of it and who confirmed; what was put aside for another message does not count."""
    n = t.notification.c
    wanted = select(n.alert_id, n.recipient, n.queued_at, n.sent_at, n.confirmed_at, n.state)
    rows = c.execute(wanted.where(n.alert_id.in_(sorted(alert_ids))).order_by(n.id)) if alert_ids else ()
    found: dict[int, dict[str, list[Any]]] = {}
    for row in rows:
        found.setdefault(row.alert_id, {}).setdefault(row.recipient, []).append(row)
    return {
        alert_id: Answers(
            tuple(
                Told(
                    name, mine[0].queued_at, max((m.sent_at for m in mine if m.sent_at), default=None),
                    min((m.confirmed_at for m in mine if m.confirmed_at), default=None),
                    all(m.state == DeliveryState.FAILED_FINAL for m in mine),
                )
                for name, mine in people.items()
            )
        )
        for alert_id, people in found.items()
    }  # fmt: skip


def load_unconfirmed(c: Connection) -> set[tuple[str, str]]:
    """Site and key of the open alarms that nobody confirmed an alert."""
    a = t.alert.c
    over = str(AlertState.RETURNED_UNACKNOWLEDGED)
    rows = c.execute(select(a.site, a.key).where(a.closed_at.is_(None), a.key.like(f"{UNCONFIRMED}%"), a.state != over))
    return {(row.site, row.key) for row in rows}
