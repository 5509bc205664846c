"""Maintenance windows: work on a station, declared for a time that ends by itself, kept with who allowed it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, or_, select, update

from monitor.decision.records import MaintenanceFact
from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries.users import require_person, require_two
from monitor.sites.tables import maintenance
from monitor.sites.tables import station as station_table
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.rows import add_row, load_records, match_given
from monitor.text.instants import epoch_s, format_iso
from monitor.text.message import Duration, NameList, Template
from monitor.text.names import fold_name, is_same_person

WHO_AND_WHY: Final = Template("act.who_and_why", "who and why are needed: give a name and a reason")
_NO_STATION: Final = Template("maintenance.no_station", "{site} declares no station '{station}'; it has: {names}")
_PAST: Final = Template("maintenance.past", "maintenance cannot begin in the past: what was decided stays decided")
_LONG: Final = Template("maintenance.long", "maintenance lasts at most {span}, and ends after it begins")
_NONE: Final = Template(
    "maintenance.none", "maintenance {number} does not exist; see `slopeward maintenance list --all`"
)
LONGEST_S: Final = 7 * 86400.0  # who works longer says so again: a forgotten window must not stay


@dataclass(frozen=True, slots=True)
class Maintenance:
    """One window as it is stored."""

    id: int
    site: str
    station: str
    from_at: datetime
    to_at: datetime
    by: str
    second_by: str | None
    reason: str
    added_at: datetime
    ended_at: datetime | None
    ended_by: str | None

    @property
    def over_at(self) -> datetime:
        """When it was over, or will be."""
        return self.ended_at or self.to_at


def add_maintenance(
    connection: Connection,
    site_id: str,
    station: str,
    from_at: datetime,
    to_at: datetime,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    second: Actor | None = None,
) -> int:
    """Declare work on a station; its votes are then pended up to a level, and it ends by itself.

    Args:
        from_at: not in the past: what was decided is not undone.
        to_at: at most `LONGEST_S` later.
        second: another person; without one the votes for the second highest level go on counting.

    Returns:
        The number of the window.

    Raises:
        NotFoundError: the site declares no such station.
        RefusedError: no person or reason, the second person is the same or has no account where accounts exist, the
            time lies in the past, is empty or too long.
    """
    require_person(actor, reason)
    s = station_table.c
    known = connection.execute(select(s.id).where(s.site == site_id, s.declared).order_by(s.id)).scalars().all()
    if station not in known:
        raise NotFoundError(_NO_STATION(site=site_id, station=station, names=NameList(tuple(known))))
    if from_at < now - timedelta(seconds=60.0):
        raise RefusedError(_PAST())
    if not timedelta(0) < to_at - from_at <= timedelta(seconds=LONGEST_S):
        raise RefusedError(_LONG(span=Duration(LONGEST_S)))
    if second is not None:
        require_two(connection, actor, second, now)
    facts = {"site": site_id, "station": station, "reason": reason, "second_by": second.name if second else None}
    number = add_row(connection, maintenance, facts, from_at=from_at, to_at=to_at, by=actor.name, added_at=now)
    detail = facts | {"from": format_iso(from_at), "to": format_iso(to_at)}
    add_audit(connection, actor, "maintenance.add", f"maintenance:{number}", detail, now)
    return number


def end_maintenance(connection: Connection, number: int, actor: Actor, reason: str, now: datetime) -> bool:
    """End a window before its time; the votes count again at once. False: it was over already.

    Raises:
        NotFoundError: no such window.
        RefusedError: nobody or no reason is named.
    """
    if not fold_name(actor.name) or not reason.strip():
        raise RefusedError(WHO_AND_WHY())
    m = maintenance.c
    found = connection.execute(select(m.to_at, m.ended_at).where(m.id == number).with_for_update()).one_or_none()
    if found is None:
        raise NotFoundError(_NONE(number=number))
    if found.ended_at is not None or found.to_at <= now:
        return False
    connection.execute(update(maintenance).where(m.id == number).values(ended_at=now, ended_by=actor.name))
    add_audit(connection, actor, "maintenance.end", f"maintenance:{number}", {"reason": reason}, now)
    return True


def load_maintenance(
    connection: Connection, site_id: str | frozenset[str] | None, now: datetime, *, everything: bool = False
) -> list[Maintenance]:
    """Windows that are not over, oldest first; all that ever were where asked for."""
    m = maintenance.c
    which = (*match_given(m.site, site_id), *(() if everything else _standing(now)))
    return load_records(connection, Maintenance, select(maintenance).where(*which).order_by(m.from_at, m.id))


def load_maintenance_between(
    connection: Connection, site: str, from_at: datetime, to_at: datetime
) -> list[Maintenance]:
    """Windows that touch a range, as they were in the end, oldest first: the newest 500."""
    m = maintenance.c
    until = func.coalesce(m.ended_at, m.to_at)
    query = select(maintenance).where(m.site == site, m.from_at < to_at, until > from_at)
    return load_records(connection, Maintenance, query.order_by(m.from_at.desc()).limit(500))[::-1]


def load_maintenance_facts(connection: Connection, site_id: str, now: datetime) -> tuple[MaintenanceFact, ...]:
    """Windows in force at an instant, as they were known then: declared by then, begun, not over, not ended."""
    rows = connection.execute(_plan_facts(), {"of_site": site_id, "now": now})
    found = []
    for r in rows:  # a second person written in another spelling of the first is nobody more
        second = None if r.second_by is None or is_same_person(r.by, r.second_by) else r.second_by
        found.append(MaintenanceFact(r.station, epoch_s(r.from_at), epoch_s(r.to_at), r.by, second, r.reason))
    return tuple(found)


@cache  # put together once: it is asked at every look
def _plan_facts() -> Select[Any]:
    m = maintenance.c
    now: Any = bindparam("now")
    lasts = m.from_at <= now, m.added_at <= now, m.to_at > now, or_(m.ended_at.is_(None), m.ended_at > now)
    return select(maintenance).where(m.site == bindparam("of_site"), *lasts).order_by(m.from_at, m.id)


def _standing(now: datetime) -> tuple[ColumnElement[bool], ...]:
    m = maintenance.c
    return m.added_at <= now, m.to_at > now, or_(m.ended_at.is_(None), m.ended_at > now)
