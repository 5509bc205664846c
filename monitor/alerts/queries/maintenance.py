"""Maintenance windows: announced work on a station, which suspends its votes until a declared end."""

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
_PAST: Final = Template("maintenance.past", "maintenance cannot start in the past, because past decisions remain")
_LONG: Final = Template("maintenance.long", "maintenance lasts at most {span}, and ends after it begins")
_NONE: Final = Template(
    "maintenance.none", "maintenance {number} does not exist; see `slopeward maintenance list --all`"
)
# Longest duration of a window. Longer work must be announced again, so that a forgotten window ends.
LONGEST_S: Final = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A stored maintenance window."""

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
        """When the window ended, or will end."""
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
    """Announce work on a station. Until its end, votes of the station for lower levels are set aside.

    Args:
        from_at: Not in the past, because past decisions remain.
        to_at: At most `LONGEST_S` later.
        second: Another person. Without one, votes for the second highest level still count.

    Returns:
        The number of the window.

    Raises:
        NotFoundError: The site declares no such station.
        RefusedError: Person or reason are missing, the second person is the same or has no account although accounts
            exist, or the time is in the past, empty or too long.
    """
    require_person(actor, reason)
    s = station_table.c
    stations = connection.execute(select(s.id).where(s.site == site_id, s.declared).order_by(s.id)).scalars().all()
    if station not in stations:
        raise NotFoundError(_NO_STATION(site=site_id, station=station, names=NameList(tuple(stations))))
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
    """End a window early; the votes of the station count again at once.

    Returns:
        False if the window was over already.

    Raises:
        NotFoundError: The window does not exist.
        RefusedError: Name or reason are missing.
    """
    if not fold_name(actor.name) or not reason.strip():
        raise RefusedError(WHO_AND_WHY())
    m = maintenance.c
    row = connection.execute(select(m.to_at, m.ended_at).where(m.id == number).with_for_update()).one_or_none()
    if row is None:
        raise NotFoundError(_NONE(number=number))
    if row.ended_at is not None or row.to_at <= now:
        return False
    connection.execute(update(maintenance).where(m.id == number).values(ended_at=now, ended_by=actor.name))
    add_audit(connection, actor, "maintenance.end", f"maintenance:{number}", {"reason": reason}, now)
    return True


def load_maintenance(
    connection: Connection, site_id: str | frozenset[str] | None, now: datetime, *, everything: bool = False
) -> list[Maintenance]:
    """Return the windows that are not over, the oldest first.

    Args:
        everything: Whether to return windows that are over as well.
    """
    m = maintenance.c
    which = (*match_given(m.site, site_id), *(() if everything else _are_not_over(now)))
    return load_records(connection, Maintenance, select(maintenance).where(*which).order_by(m.from_at, m.id))


def load_maintenance_between(
    connection: Connection, site: str, from_at: datetime, to_at: datetime
) -> list[Maintenance]:
    """Return the newest 500 windows that overlap a range, the oldest first."""
    m = maintenance.c
    until = func.coalesce(m.ended_at, m.to_at)
    query = select(maintenance).where(m.site == site, m.from_at < to_at, until > from_at)
    return load_records(connection, Maintenance, query.order_by(m.from_at.desc()).limit(500))[::-1]


def load_maintenance_facts(connection: Connection, site_id: str, now: datetime) -> tuple[MaintenanceFact, ...]:
    """Return the windows in force at `now`, as known at `now`."""
    rows = connection.execute(_query_facts(), {"of_site": site_id, "now": now})
    facts = []
    for row in rows:
        # The second name may be another spelling of the first.
        is_second = row.second_by is not None and not is_same_person(row.by, row.second_by)
        second_by = row.second_by if is_second else None
        facts.append(
            MaintenanceFact(row.station, epoch_s(row.from_at), epoch_s(row.to_at), row.by, second_by, row.reason)
        )
    return tuple(facts)


# Each evaluation runs this query, so it is built once.
@cache
def _query_facts() -> Select[Any]:
    m = maintenance.c
    now: Any = bindparam("now")
    lasts = m.from_at <= now, m.added_at <= now, m.to_at > now, or_(m.ended_at.is_(None), m.ended_at > now)
    return select(maintenance).where(m.site == bindparam("of_site"), *lasts).order_by(m.from_at, m.id)


def _are_not_over(now: datetime) -> tuple[ColumnElement[bool], ...]:
    m = maintenance.c
    return m.added_at <= now, m.to_at > now, or_(m.ended_at.is_(None), m.ended_at > now)
