"""Tests of channels: when each was tested last, and when it was last good."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from monitor.logs import redact
from monitor.store.alerting.outbox import ERROR_LIMIT
from monitor.store.database.rows import add_row
from monitor.store.schema.tables import channel_test


@dataclass(frozen=True, slots=True)
class Tested:
    """How the tests of a channel went."""

    channel: str
    first_at: datetime
    last_at: datetime
    good_at: datetime | None  # of the last that was good; None = none ever was
    found: str  # by the last one

    def is_silent(self, now: datetime, allowed: timedelta) -> bool:
        """Whether the channel has not been good for longer than is allowed."""
        return now - (self.good_at or self.first_at) > allowed


def add_test(
    c: Connection, channel: str, target: str, now: datetime, *, good: bool, found: str, provider_id: str | None
) -> int:  # fmt: skip
    """Keep the result of a test; returns its number. Secrets are taken out."""
    row: dict[str, Any] = {
        "channel": channel, "target": target, "at": now, "good": good, "found": redact(found)[:ERROR_LIMIT],
        "provider_id": provider_id,
    }  # fmt: skip
    return add_row(c, channel_test, **row)


def mark_unanswered(c: Connection, number: int, found: str) -> bool:
    """The device did not answer in time; False where it did."""
    t = channel_test
    row = update(t).where(t.c.id == number, t.c.received_at.is_(None))
    return c.execute(row.values(good=False, found=found)).rowcount == 1


def has_answered(c: Connection, number: int) -> bool:
    """Whether the other side said that the device has the test."""
    return c.execute(select(channel_test.c.received_at).where(channel_test.c.id == number)).scalar() is not None


def load_tested(c: Connection, channels: Iterable[str]) -> dict[str, Tested]:
    """By channel how its tests went; a channel that was never tested is missing."""
    t = channel_test.c
    wanted = sorted(set(channels))
    first, last = func.min(t.at), func.max(t.id)
    spans = c.execute(select(t.channel, first, last).where(t.channel.in_(wanted)).group_by(t.channel)).all()
    newest_good = select(t.channel, func.max(t.at)).where(t.channel.in_(wanted), t.good.is_(True)).group_by(t.channel)
    good = {row[0]: row[1] for row in c.execute(newest_good)}
    newest = {row.id: row for row in c.execute(select(channel_test).where(t.id.in_([row[2] for row in spans])))}
    return {
        channel: Tested(channel, first_at, newest[last_id].at, good.get(channel), newest[last_id].found)
        for channel, first_at, last_id in spans
    }
