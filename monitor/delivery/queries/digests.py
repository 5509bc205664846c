"""Daily digests that were sent or failed, and the counts of messages that a digest contains."""

from collections import Counter
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from monitor.alerts.notification import TAKEN, DeliveryState
from monitor.alerts.outbox_tables import notification
from monitor.delivery.queries.outbox import WAITING, make_error_columns
from monitor.delivery.tables import digest
from monitor.storage.engine import insert

SENT: Final = "sent"
FAILED: Final = "failed"


def count_attempts(c: Connection, site: str, recipient: str, day: str) -> int | None:
    """Return how often the digest of a local day was tried; None if it was sent."""
    d = digest.c
    of_day = (d.site == site, d.recipient == recipient, d.day == day)
    row = c.execute(select(d.state, d.attempts).where(*of_day)).one_or_none()
    if row is None:
        return 0
    return None if row.state == SENT else int(row.attempts)


def store_attempt(
    c: Connection, site: str, recipient: str, day: str, channel: str, error: str | None, now: datetime
) -> None:
    """Store the outcome of a digest. `error` is None if the channel took it."""
    d = digest.c
    values = {"channel": channel, "at": now, "state": SENT if error is None else FAILED}
    values |= make_error_columns("error", error)
    row = insert(c, digest).values(site=site, recipient=recipient, day=day, attempts=1, **values)
    keys = ["site", "recipient", "day"]
    c.execute(row.on_conflict_do_update(index_elements=keys, set_=values | {"attempts": d.attempts + 1}))


def count_messages(c: Connection, site: str, since: datetime, until: datetime) -> tuple[int, int, int]:
    """Return how many messages of a site in a period were delivered, failed for good and wait, without drills."""
    n = notification
    in_period = (n.c.site == site, n.c.queued_at > since, n.c.queued_at <= until, n.c.exercise.is_(False))
    query = select(n.c.state, func.count()).where(*in_period).group_by(n.c.state)
    counts = Counter({row[0]: int(row[1]) for row in c.execute(query)})
    delivered = sum(counts[state] for state in TAKEN)
    waiting = sum(counts[state] for state in WAITING)
    return delivered, counts[DeliveryState.FAILED_FINAL], waiting
