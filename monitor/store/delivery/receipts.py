"""What the other side says of a message after it took it: it is on the device, or it could not be delivered."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select, update

from monitor.domain.alert import DeliveryState
from monitor.store.alerting.outbox import ERROR_LIMIT, spell_error
from monitor.store.schema.tables import channel_test, notification

AGAIN: Final = timedelta(seconds=60)  # after the provider could not deliver
MOST_TRIES: Final = 3
_LONGEST: Final = 60  # characters of what a provider says


def find_sent(c: Connection, provider_id: str) -> int | None:
    """The message that a provider calls so."""
    n = notification.c
    return c.execute(select(n.id).where(n.provider_id == provider_id).order_by(n.id.desc()).limit(1)).scalar()


def load_unsaid(c: Connection, prefix: str, since: datetime) -> list[tuple[int, str]]:
    """Messages that were taken and of which nothing was said yet, whose other name begins so."""
    n = notification.c
    query = select(n.id, n.provider_id).where(
        n.state == DeliveryState.DELIVERED, n.provider_said.is_(None), n.sent_at > since,
        n.provider_id.startswith(prefix),
    )  # fmt: skip
    return [(int(row[0]), str(row[1])) for row in c.execute(query)]


def note_received(c: Connection, notification_id: int, said: str, now: datetime) -> bool:
    """The device has the message; the first such word counts. False where it was said already."""
    n = notification
    row = update(n).where(n.c.id == notification_id, n.c.received_at.is_(None))
    return c.execute(row.values(received_at=now, provider_said=said[:_LONGEST])).rowcount == 1


def note_said(c: Connection, notification_id: int, said: str) -> None:
    """A word on the way that decides nothing: `sent`, `ringing`."""
    n = notification
    row = update(n).where(n.c.id == notification_id, n.c.received_at.is_(None))
    c.execute(row.values(provider_said=said[:_LONGEST]))


def mark_undelivered(c: Connection, notification_id: int, said: str, why: str, now: datetime) -> bool:
    """The other side could not deliver what it took: it goes out again in a minute, the third time it failed for good.

    Attempts that the provider itself refused do not count: only what it took and could not deliver does.

    When all messages of an event have failed, the next recipient is notified at once, as for any other failure. What
    the device had already, or its recipient confirmed, stays.
    """
    n = notification
    before = c.execute(select(n.c.undelivered).where(n.c.id == notification_id)).scalar() or 0
    state = DeliveryState.FAILED_FINAL if before + 1 >= MOST_TRIES else DeliveryState.FAILED_RETRY
    row = update(n).where(
        n.c.id == notification_id, n.c.state == DeliveryState.DELIVERED, n.c.received_at.is_(None)
    )  # fmt: skip
    values = {
        "state": state, "provider_said": said[:_LONGEST], "undelivered": n.c.undelivered + 1,
        "next_attempt_at": None if state is DeliveryState.FAILED_FINAL else now + AGAIN,
        **spell_error("last_error", why),
    }  # fmt: skip
    return c.execute(row.values(**values)).rowcount == 1


def note_test(c: Connection, provider_id: str, said: str, now: datetime, *, good: bool) -> bool:
    """The same of a test of a channel. False where no test is called so."""
    t = channel_test
    values = {"received_at": now} if good else {"good": False}
    row = update(t).where(t.c.provider_id == provider_id, t.c.received_at.is_(None))
    return c.execute(row.values(found=said[:ERROR_LIMIT], **values)).rowcount == 1
