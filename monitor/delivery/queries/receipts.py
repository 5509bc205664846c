"""Reports of a provider about messages that it took, and the results of channel tests."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select, update

from monitor.alerts.notification import DeliveryState
from monitor.alerts.outbox_tables import notification
from monitor.delivery.queries.outbox import ERROR_LIMIT, make_error_columns
from monitor.delivery.tables import channel_test
from monitor.logs import redact
from monitor.storage.rows import add_row

# After this time a message that the provider could not deliver is sent again.
RESEND_AFTER: Final = timedelta(seconds=60)
# After this many reports that the provider could not deliver a message, it has failed for good.
MAX_UNDELIVERED: Final = 3
# Characters of the status of a provider that are stored.
_STATUS_LENGTH: Final = 60


def find_sent(c: Connection, provider_id: str) -> int | None:
    """Return the number of the newest message with an id at its provider; None if there is none."""
    n = notification.c
    return c.execute(select(n.id).where(n.provider_id == provider_id).order_by(n.id.desc()).limit(1)).scalar()


def load_without_receipt(c: Connection, prefix: str, since: datetime) -> list[tuple[int, str]]:
    """Load messages without a report since an instant: number, and id at the provider, which has a prefix."""
    n = notification.c
    taken = (n.state == DeliveryState.DELIVERED, n.sent_at > since, n.provider_id.startswith(prefix))
    return [*c.execute(select(n.id, n.provider_id).where(*taken, n.provider_said.is_(None)))]


def note_received(c: Connection, notification_id: int, status: str, now: datetime) -> bool:
    """Store that the device has the message. Return False if that was stored before."""
    n = notification
    row = update(n).where(n.c.id == notification_id, n.c.received_at.is_(None))
    return c.execute(row.values(received_at=now, provider_said=status[:_STATUS_LENGTH])).rowcount == 1


def note_progress(c: Connection, notification_id: int, status: str) -> None:
    """Store a status that is not final, such as `sent` or `ringing`."""
    n = notification
    row = update(n).where(n.c.id == notification_id, n.c.received_at.is_(None))
    c.execute(row.values(provider_said=status[:_STATUS_LENGTH]))


def mark_undelivered(c: Connection, notification_id: int, status: str, why: str, now: datetime) -> bool:
    """Store that the provider could not deliver a message that it took. Return whether the state changed.

    The message is sent again after a minute. After the third such report it has failed for good. A message that the
    device has or that its recipient confirmed is not changed. If all messages of an event have failed, the escalation
    notifies the next recipient at once, as after any other failure.
    """
    n = notification
    before = c.execute(select(n.c.undelivered).where(n.c.id == notification_id)).scalar() or 0
    state = DeliveryState.FAILED_FINAL if before + 1 >= MAX_UNDELIVERED else DeliveryState.FAILED_RETRY
    row = update(n).where(n.c.id == notification_id, n.c.state == DeliveryState.DELIVERED, n.c.received_at.is_(None))
    values = {
        "state": state,
        "provider_said": status[:_STATUS_LENGTH],
        "undelivered": n.c.undelivered + 1,
        "next_attempt_at": None if state is DeliveryState.FAILED_FINAL else now + RESEND_AFTER,
        **make_error_columns("last_error", why),
    }
    return c.execute(row.values(**values)).rowcount == 1


def note_test(c: Connection, provider_id: str, status: str, now: datetime, *, good: bool) -> bool:
    """Store the report about a channel test. Return False if no test has this id."""
    t = channel_test
    values = {"received_at": now} if good else {"good": False}
    row = update(t).where(t.c.provider_id == provider_id, t.c.received_at.is_(None))
    return c.execute(row.values(found=status[:ERROR_LIMIT], **values)).rowcount == 1


@dataclass(frozen=True, slots=True)
class ChannelTests:
    """The tests of a channel.

    Attributes:
        good_at: Time of the last test that succeeded; None if none did.
        found: Result of the last test.
    """

    channel: str
    first_at: datetime
    last_at: datetime
    good_at: datetime | None
    found: str

    def is_silent(self, now: datetime, allowed: timedelta) -> bool:
        """Return whether no test has succeeded for longer than is allowed."""
        return now - (self.good_at or self.first_at) > allowed


def add_test(
    c: Connection, channel: str, target: str, now: datetime, *, good: bool, found: str, provider_id: str | None
) -> int:
    """Store the result of a test without secrets, and return its number."""
    row = {"channel": channel, "target": target, "at": now, "good": good, "provider_id": provider_id}
    return add_row(c, channel_test, row, found=redact(found)[:ERROR_LIMIT])


def mark_unanswered(c: Connection, number: int, found: str) -> bool:
    """Store that the device did not answer in time. Return False if it did."""
    t = channel_test
    row = update(t).where(t.c.id == number, t.c.received_at.is_(None))
    return c.execute(row.values(good=False, found=found)).rowcount == 1


def has_answered(c: Connection, number: int) -> bool:
    """Return whether the device has received the test."""
    return c.execute(select(channel_test.c.received_at).where(channel_test.c.id == number)).scalar() is not None


def load_tested(c: Connection, channels: Iterable[str]) -> dict[str, ChannelTests]:
    """Return the tests of channels. A channel that was never tested is missing."""
    t = channel_test.c
    wanted = sorted(set(channels))
    first, last = func.min(t.at), func.max(t.id)
    spans = c.execute(select(t.channel, first, last).where(t.channel.in_(wanted)).group_by(t.channel)).all()
    newest_good = select(t.channel, func.max(t.at)).where(t.channel.in_(wanted), t.good.is_(True)).group_by(t.channel)
    good = {row[0]: row[1] for row in c.execute(newest_good)}
    newest = {row.id: row for row in c.execute(select(channel_test).where(t.id.in_([row[2] for row in spans])))}
    return {
        channel: ChannelTests(channel, first_at, newest[last_id].at, good.get(channel), newest[last_id].found)
        for channel, first_at, last_id in spans
    }
