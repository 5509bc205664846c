"""Correct stored readings after the clock of the service was wrong."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, and_, select, update

from monitor.readings.tables import observation, observation_flag, series_latest
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.rows import add_row, fill_row

# Only flags of readings that are not older are withdrawn.
MAX_AGE: Final = timedelta(days=2)
# Stored with each withdrawal.
REASON: Final = "the clock of the service was slow"


def move_receptions_back(c: Connection, back: timedelta, limit: datetime) -> int:
    """Move the time of reception of readings back if it is later than a limit.

    Only series whose newest reading was received after the limit are searched. Therefore `series_latest` must still
    contain the wrong times of reception.

    Args:
        c: An open write transaction.
        back: By how much the time of reception is moved.
        limit: Readings received until then remain as they are.

    Returns:
        The number of readings that were changed.
    """
    latest, o = series_latest.c, observation.c
    series_ids = c.execute(select(latest.series_id).where(latest.received_at > limit)).scalars().all()
    changed = 0
    for series_id in series_ids:
        late = c.execute(
            select(o.observed_at, o.revision, o.received_at).where(o.series_id == series_id, o.received_at > limit)
        ).all()
        for row in late:
            is_row = and_(o.series_id == series_id, o.observed_at == row.observed_at, o.revision == row.revision)
            c.execute(update(observation).where(is_row).values(received_at=row.received_at - back))
        changed += len(late)
    return changed


def withdraw_future(c: Connection, now: datetime, received_from: datetime | None = None) -> int:
    """Withdraw the flag `future` from readings that are in the past of the corrected clock.

    Args:
        c: An open write transaction.
        now: The present time of the corrected clock.
        received_from: Only readings received since then; by default those of the last four days.

    Returns:
        The number of readings that were changed.
    """
    o, f = observation.c, observation_flag.c
    is_withdrawal = and_(f.flag == "-future", f.known_from > now - 2 * MAX_AGE)
    withdrawn = set(c.execute(select(f.series_id, f.observed_at, f.revision).where(is_withdrawal)).all())
    flagged = c.execute(
        select(o.series_id, o.observed_at, o.revision, o.flags)
        .where(o.flags.like("%future%"), o.observed_at > now - MAX_AGE, o.observed_at <= now)
        .where(o.received_at >= (received_from or now - 2 * MAX_AGE))
    )
    rows = [row for row in flagged if (row.series_id, row.observed_at, row.revision) not in withdrawn]
    for row in rows:
        facts = {"flag": "-future", "known_from": now, "by": SERVICE_ACTOR.name, "reason": REASON}
        add_row(c, observation_flag, fill_row(observation_flag, row, **facts))
    return len(rows)
