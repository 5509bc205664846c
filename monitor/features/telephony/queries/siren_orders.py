"""Orders to sirens and signs, and their confirmations."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select, update

from monitor.api.alerts import Notification
from monitor.api.database import add_row, fill_row, load_records, row_to_record
from monitor.api.delivery import note_received, note_test
from monitor.features.telephony.tables import siren_order

ON, OFF, TEST = "on", "off", "test"
# Characters of the answer of a device that are stored.
_LONGEST: Final = 100


@dataclass(frozen=True, slots=True)
class SirenOrder:
    """An order. Its sequence rises with each order of a topic, also after the database was restored."""

    id: int
    topic: str
    sequence: int
    notification_id: int | None
    site: str
    wanted: str
    level: int
    level_name: str
    exercise: bool
    ordered_at: datetime
    sent_at: datetime
    valid_until: datetime
    times: int
    confirmed_at: datetime | None
    confirmed_by: str | None
    said: str | None

    @property
    def is_done(self) -> bool:
        """Whether the device has confirmed that it obeys the order."""
        return self.confirmed_at is not None and self.said == self.wanted


def make_order(c: Connection, topic: str, message: Notification, now: datetime, valid_for: timedelta) -> SirenOrder:
    """Return the order of a message. A second attempt repeats the order with a new end.

    If a newer message of the site has an order, that order is repeated, because the older message was delayed. In an
    exercise a siren sounds only if the site file declares it, and the end of an exercise silences no real alarm. The
    end of the alarm of one site does not silence a siren that another site needs.

    Args:
        topic: Topic of the siren.
        message: The message with the level at which the siren sounds; number 0 for a test of the channel.
        valid_for: Devices ignore the order after this time.
    """
    t = siren_order
    if message.id:
        same = (t.c.topic == topic) & (t.c.site == message.site) & (t.c.exercise.is_(message.exercise))
        newest_order = c.execute(
            select(t.c.id).where(same, t.c.notification_id >= message.id).order_by(t.c.notification_id.desc()).limit(1)
        ).scalar()
        if newest_order is not None:
            return repeat_order(c, newest_order, now, valid_for)
    newest = c.execute(select(func.max(t.c.sequence)).where(t.c.topic == topic)).scalar() or 0
    facts = {"topic": topic, "sequence": max(newest + 1, int(now.timestamp() * 1000)), "times": 1}
    facts |= {"notification_id": message.id or None, "wanted": _decide(c, topic, message)}
    instants = {"ordered_at": now, "sent_at": now, "valid_until": now + valid_for}
    return _find(c, add_row(c, t, fill_row(t, message, **facts, **instants)))


def _decide(c: Connection, topic: str, message: Notification) -> str:
    if not message.id or (message.exercise and not message.sounds_in_exercise):
        return TEST
    if message.sounds_from is not None and message.level >= message.sounds_from:
        return ON
    if any(order.wanted == ON for order in _load_newest(c, topic) if message.exercise or order.site != message.site):
        return TEST
    return OFF


def _load_newest(c: Connection, topic: str) -> list[SirenOrder]:
    """Load the newest order of each site to a topic, without exercises. `test` is an order that ended nothing."""
    t = siren_order
    real = (t.c.topic == topic) & t.c.exercise.is_(False) & t.c.notification_id.is_not(None)
    newest = select(func.max(t.c.id)).where(real).group_by(t.c.site)
    return load_records(c, SirenOrder, select(t).where(t.c.id.in_(newest)))


def repeat_order(c: Connection, number: int, now: datetime, valid_for: timedelta) -> SirenOrder:
    """Repeat an order with a new end."""
    t = siren_order
    values = {"sent_at": now, "valid_until": now + valid_for, "times": t.c.times + 1}
    c.execute(update(t).where(t.c.id == number).values(values))
    return _find(c, number)


def load_open_orders(c: Connection) -> list[SirenOrder]:
    """Load the newest order of each topic that no device obeys yet, without tests."""
    t = siren_order
    newest = select(func.max(t.c.sequence).label("sequence"), t.c.topic).where(t.c.wanted != TEST)
    newest_of = newest.group_by(t.c.topic).subquery()
    query = select(t).join(newest_of, (t.c.topic == newest_of.c.topic) & (t.c.sequence == newest_of.c.sequence))
    return [order for order in load_records(c, SirenOrder, query) if not order.is_done]


def confirm_order(c: Connection, topic: str, sequence: int, state: str, device: str, now: datetime) -> bool:
    """Store the answer of a device, until one obeys the order. Return False if no order waits for an answer."""
    t = siren_order
    mine = (t.c.topic == topic) & (t.c.sequence == sequence)
    waiting = mine & (t.c.confirmed_at.is_(None) | (t.c.said != t.c.wanted))
    values = {"confirmed_at": now, "confirmed_by": device[:_LONGEST], "said": state[:_LONGEST]}
    if c.execute(update(t).where(waiting).values(values)).rowcount != 1:
        return False
    order = row_to_record(SirenOrder, c.execute(select(t).where(mine)).one())
    if order.is_done and order.notification_id is not None:
        note_received(c, order.notification_id, state, now)
    elif order.is_done:
        note_test(c, f"siren {sequence}", state, now, good=True)
    return True


def _find(c: Connection, number: int) -> SirenOrder:
    return row_to_record(SirenOrder, c.execute(select(siren_order).where(siren_order.c.id == number)).one())
