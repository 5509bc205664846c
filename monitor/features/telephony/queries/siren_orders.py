"""Orders to sirens and signs: what each was told last, how often, and what it answered."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select, update

from monitor.api.alerts import Notification
from monitor.api.database import add_row, fill_row, load_records, read_record
from monitor.api.delivery import note_received, note_test
from monitor.features.telephony.tables import siren_order

ON, OFF, TEST = "on", "off", "test"
_LONGEST: Final = 100  # characters of what a device says


@dataclass(frozen=True, slots=True)
class SirenOrder:
    """One order; its sequence rises with each order of a topic, also after the database was restored."""

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
        """Whether the device does what was ordered."""
        return self.confirmed_at is not None and self.said == self.wanted


def make_order(c: Connection, topic: str, message: Notification, now: datetime, valid_for: timedelta) -> SirenOrder:
    """The order that follows from a message; at a second try the same one, with a new end.

    A message that was held up orders nothing any more: the order of the newer one is given once more.

    An exercise sounds only where the site file says so, and its end silences no real alarm; nor does the end of one
    site's alarm silence the siren while another site needs it.

    Args:
        topic: of the siren.
        message: with what its recipient asked for; number 0 = a test of the channel.
        valid_for: after that devices ignore it.
    """
    t = siren_order
    if message.id:
        same = (t.c.topic == topic) & (t.c.site == message.site) & (t.c.exercise.is_(message.exercise))
        known = c.execute(
            select(t.c.id).where(same, t.c.notification_id >= message.id).order_by(t.c.notification_id.desc()).limit(1)
        ).scalar()
        if known is not None:
            return repeat_order(c, known, now, valid_for)
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
    """The newest real order of each site to a topic; `test` is one that ended nothing, for another site needs it."""
    t = siren_order
    real = (t.c.topic == topic) & t.c.exercise.is_(False) & t.c.notification_id.is_not(None)
    newest = select(func.max(t.c.id)).where(real).group_by(t.c.site)
    return load_records(c, SirenOrder, select(t).where(t.c.id.in_(newest)))


def repeat_order(c: Connection, number: int, now: datetime, valid_for: timedelta) -> SirenOrder:
    """The same order once more, with a new end."""
    t = siren_order
    values = {"sent_at": now, "valid_until": now + valid_for, "times": t.c.times + 1}
    c.execute(update(t).where(t.c.id == number).values(values))
    return _find(c, number)


def load_open_orders(c: Connection) -> list[SirenOrder]:
    """The newest order of each topic that no device does yet; tests are not waited for."""
    t = siren_order
    newest = select(func.max(t.c.sequence).label("sequence"), t.c.topic).where(t.c.wanted != TEST)
    newest_of = newest.group_by(t.c.topic).subquery()
    query = select(t).join(newest_of, (t.c.topic == newest_of.c.topic) & (t.c.sequence == newest_of.c.sequence))
    return [order for order in load_records(c, SirenOrder, query) if not order.is_done]


def confirm_order(c: Connection, topic: str, sequence: int, state: str, device: str, now: datetime) -> bool:
    """What a device answered; the first answer that does what was ordered stays. False where no order waits for it."""
    t = siren_order
    mine = (t.c.topic == topic) & (t.c.sequence == sequence)
    open_one = mine & (t.c.confirmed_at.is_(None) | (t.c.said != t.c.wanted))
    values = {"confirmed_at": now, "confirmed_by": device[:_LONGEST], "said": state[:_LONGEST]}
    if c.execute(update(t).where(open_one).values(values)).rowcount != 1:
        return False
    order = read_record(SirenOrder, c.execute(select(t).where(mine)).one())
    if order.is_done and order.notification_id is not None:
        note_received(c, order.notification_id, state, now)
    elif order.is_done:
        note_test(c, f"siren {sequence}", state, now, good=True)
    return True


def _find(c: Connection, number: int) -> SirenOrder:
    return read_record(SirenOrder, c.execute(select(siren_order).where(siren_order.c.id == number)).one())
