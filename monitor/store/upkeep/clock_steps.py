"""After the clock was set back: instants that a wrong clock wrote into the future are moved to when they were."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, and_, select, update

from monitor.domain.actor import SERVICE
from monitor.domain.instants import epoch_s
from monitor.store.database.audit import add_audit
from monitor.store.database.rows import add_row, fill_row
from monitor.store.schema.evaluations import site_state
from monitor.store.schema.outbox import notification
from monitor.store.schema.readings import observation, observation_flag, offset_entry, series_latest
from monitor.store.schema.site_events import event_confirmation, report, site_event

# Instants by which people or decisions wait or know. What was frozen as evidence, alerts and their events stay.
ANCHORED: Final = (
    (notification, ("queued_at", "next_attempt_at", "lease_until")),
    (report, ("received_at",)),
    (site_event, ("received_at", "withdrawn_at")),
    (event_confirmation, ("at", "withdrawn_at")),
    (observation_flag, ("known_from",)),
    (offset_entry, ("known_from",)),
    (series_latest, ("received_at",)),
)
# Of a memory: what our clock wrote. Deadlines of votes and instants of steps are times of data.
OWN_INSTANTS: Final = frozenset({"started_s", "since_s", "seen_s", "known_s", "asked", "common", "unheard", "held"})
SLACK: Final = timedelta(seconds=2)
BACK: Final = timedelta(days=2)
BEHIND: Final = "our clock was behind"


def set_back(c: Connection, back_s: float, now: datetime) -> dict[str, int]:
    """Move what lies in the future by as much as the clock was set back; returns how many rows by table.

    `back_s`: how far the clock was set back, above 0; `now`: the present after it.
    """
    delta, limit = timedelta(seconds=back_s), now + SLACK
    moved: dict[str, int] = {}
    # before its newest instant is moved, each series tells whether any of its rows came in the wrong time
    series = c.execute(select(series_latest.c.series_id).where(series_latest.c.received_at > limit)).scalars().all()
    o = observation.c
    for series_id in series:
        late = c.execute(
            select(o.observed_at, o.revision, o.received_at).where(o.series_id == series_id, o.received_at > limit)
        ).all()
        for one in late:
            key = and_(o.series_id == series_id, o.observed_at == one.observed_at, o.revision == one.revision)
            c.execute(update(observation).where(key).values(received_at=one.received_at - delta))
        moved["observation"] = moved.get("observation", 0) + len(late)
    for table, columns in ANCHORED:
        keys = list(table.primary_key.columns)
        for name in columns:
            column = table.c[name]
            rows = c.execute(select(*keys, column.label("instant")).where(column > limit)).all()
            for row in rows:
                where = and_(*(key == value for key, value in zip(keys, row, strict=False)))
                c.execute(update(table).where(where).values({name: row.instant - delta}))
            if rows:
                moved[table.name] = moved.get(table.name, 0) + len(rows)
    s = site_state.c
    for known in c.execute(select(s.site, s.state)).all():
        state = _move_back(known.state, epoch_s(now) + SLACK.total_seconds(), back_s)
        if state != known.state:
            c.execute(update(site_state).where(s.site == known.site).values(state=state))
            moved["site_state"] = moved.get("site_state", 0) + 1
    add_audit(c, SERVICE, "clock.set_back", "service:clock", {"seconds": back_s, "rows": moved}, now)
    return moved


def _move_back(value: Any, limit_s: float, back_s: float, *, own: bool = False) -> Any:
    """A memory with the instants of our clock that lie beyond a limit moved back; instants of data stay.

    >>> _move_back({"since_s": 100.0, "votes": {"a|b": {"valid_until_s": 100.0}}, "asked": {"q": 95.0}}, 90.0, 10.0)
    {'since_s': 90.0, 'votes': {'a|b': {'valid_until_s': 100.0}}, 'asked': {'q': 85.0}}
    """
    if isinstance(value, dict):
        return {key: _move_back(one, limit_s, back_s, own=own or key in OWN_INSTANTS) for key, one in value.items()}
    if own and isinstance(value, float) and value > limit_s:
        return value - back_s
    return value


def withdraw_future(c: Connection, now: datetime, received_from: datetime | None = None) -> int:
    """Withdraw `future` from readings that lie in the past of a clock that is now right; returns how many.

    Args:
        now: the present by the right clock.
        received_from: only those received since then; else those of the last days.
    """
    o, f = observation.c, observation_flag.c
    taken = set(
        c.execute(
            select(f.series_id, f.observed_at, f.revision).where(f.flag == "-future", f.known_from > now - 2 * BACK)
        ).all()
    )
    rows = [
        row
        for row in c.execute(
            select(o.series_id, o.observed_at, o.revision, o.flags)
            .where(o.flags.like("%future%"), o.observed_at > now - BACK, o.observed_at <= now)
            .where(o.received_at >= (received_from or now - 2 * BACK))
        )
        if (row.series_id, row.observed_at, row.revision) not in taken
    ]
    for row in rows:
        facts = {"flag": "-future", "known_from": now, "by": SERVICE.name, "reason": BEHIND}
        add_row(c, observation_flag, fill_row(observation_flag, row, **facts))
    return len(rows)
