"""Daily digests: to whom the one of a day was sent, and what messages became of a day."""

from datetime import datetime

from sqlalchemy import Connection, case, func, select, update

from monitor.domain.alert import DeliveryState
from monitor.store.alerting.outbox import spell_error
from monitor.store.database.engine import insert
from monitor.store.schema import tables as t

SENT = "sent"
FAILED = "failed"


def count_tries(c: Connection, site: str, recipient: str, day: str) -> int | None:
    """How often the digest of a day was tried; None when it was sent."""
    d = t.digest.c
    mine = (d.site == site, d.recipient == recipient, d.day == day)
    row = c.execute(select(d.state, d.attempts).where(*mine)).one_or_none()
    return 0 if row is None else None if row.state == SENT else int(row.attempts)


def note_try(
    c: Connection, site: str, recipient: str, day: str, channel: str, error: str | None, now: datetime
) -> None:  # fmt: skip
    """Keep what became of a digest; `error` is None when the channel took it."""
    d = t.digest.c
    values = {
        "channel": channel, "at": now, "state": SENT if error is None else FAILED,
        **spell_error("error", error),
    }  # fmt: skip
    mine = (d.site == site, d.recipient == recipient, d.day == day)
    changed = c.execute(update(t.digest).where(*mine).values(**values, attempts=d.attempts + 1)).rowcount
    if not changed:
        row = {"site": site, "recipient": recipient, "day": day, "attempts": 1, **values}
        c.execute(insert(c, t.digest).values(row).on_conflict_do_nothing())


def count_messages(c: Connection, site: str, since: datetime, until: datetime) -> tuple[int, int, int]:
    """Messages of a site of a time: delivered, failed for good, waiting; no drills."""
    n = t.notification.c
    taken = n.state.in_((DeliveryState.DELIVERED, DeliveryState.CONFIRMED))
    parts = (
        taken,
        n.state == DeliveryState.FAILED_FINAL,
        n.state.in_((DeliveryState.QUEUED, DeliveryState.FAILED_RETRY)),
    )
    wanted = select(*(func.coalesce(func.sum(case((part, 1), else_=0)), 0) for part in parts)).where(
        n.site == site, n.queued_at > since, n.queued_at <= until, n.exercise.is_(False)
    )
    first, second, third = c.execute(wanted).one()
    return int(first), int(second), int(third)
