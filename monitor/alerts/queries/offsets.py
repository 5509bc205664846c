"""Declared offsets (antenna change, re-zero): dated when they happened and since when we know; raw never changes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, select, update

from monitor.decision.records import OffsetFact, seconds
from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries.users import require_account, require_independent
from monitor.readings.queries.observations import is_second
from monitor.readings.tables import offset_entry, series
from monitor.sites.quantities import convert_difference
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.rows import add_row, find_record, read_record
from monitor.text.instants import format_iso
from monitor.text.message import Template
from monitor.text.names import is_same_person

FACTS_KEPT: Final = timedelta(days=366)
_NO_SERIES: Final = Template("series.none", "there is no series {series}")
_NONE: Final = Template("offset.none", "there is no offset {number}; see `slopeward offsets list`")
_NOT_HERE: Final = Template("offset.none_here", "there is no offset {number} on site {site}")
_CONFIRMED: Final = Template("offset.confirmed_already", "offset {number} is confirmed already")
_REVOKED: Final = Template("offset.revoked_already", "offset {number} is revoked already")
KINDS: Final = ("antenna", "rezero", "maintenance", "frame", "other")


@dataclass(frozen=True, slots=True)
class Offset:
    """One declared jump of a series; `corrected = raw - sum(size of offsets at or before the epoch)`."""

    id: int
    series_id: int
    at: datetime  # first epoch that carries the jump
    known_from: datetime  # a decision taken before that did not know it
    size: float  # in the unit of the series
    unit: str
    kind: str
    author: str
    reason: str
    confirmed_at: datetime | None
    confirmed_by: str | None
    revoked_at: datetime | None
    revoked_by: str | None


def add_offset(
    connection: Connection,
    series_id: int,
    *,
    at: datetime,
    known_from: datetime,
    size: float,
    unit: str,
    kind: str,
    author: Actor,
    reason: str,
    now: datetime,
) -> int:
    """Declare an offset; it counts at once in every later evaluation. The same one again is found, not doubled.

    As long as nobody but its author has confirmed it, it neither lowers nor holds down one of the two highest levels:
    there the series counts as measured as well.

    Args:
        at: first epoch that carries the jump.
        known_from: since when we know; not before `at`, not after `now`.
        size: the jump in `unit`, as raw shows it; stored in the unit of the series.
        unit: any unit that converts into that of the series.
        kind: one of KINDS.

    Returns:
        The id of the offset.

    Raises:
        NotFoundError: no such series.
        RefusedError: dates out of order, size zero or not finite, unknown kind, unit that does not fit, no reason.
    """
    stored_unit = connection.execute(select(series.c.unit).where(series.c.id == series_id)).scalar()
    if stored_unit is None:
        raise NotFoundError(_NO_SERIES(series=str(series_id)))
    _check(at, known_from, kind, reason, now)
    try:
        converted = convert_difference(size, unit, stored_unit)
    except ValueError as error:
        raise RefusedError(f"offset in {unit!r} for a series in {stored_unit!r}: {error}") from error
    if converted == 0.0 or not -1e300 < converted < 1e300:
        raise RefusedError(f"offset size {size!r}: a finite number other than zero is needed")
    e = offset_entry.c
    newest = connection.execute(  # of it and its opposite, which takes it back
        select(e.id, e.size)
        .where(e.series_id == series_id, e.at == at, e.size.in_((converted, -converted)), e.revoked_at.is_(None))
        .order_by(e.id.desc())
        .limit(1)
    ).first()
    if newest is not None and newest.size == converted:
        return int(newest.id)
    facts = {"series_id": series_id, "size": converted, "unit": stored_unit, "kind": kind, "reason": reason}
    offset_id = add_row(connection, offset_entry, facts, at=at, known_from=known_from, author=author.name)
    detail = facts | {"at": format_iso(at), "known_from": format_iso(known_from)}
    add_audit(connection, author, "offset.add", f"offset:{offset_id}", detail, now)
    return offset_id


def find_site_of_offset(connection: Connection, offset_id: int) -> str | None:
    """The site of an offset, None where there is no such offset."""
    of_series = series.c.id == offset_entry.c.series_id
    return connection.execute(select(series.c.site).where(of_series, offset_entry.c.id == offset_id)).scalar()


@dataclass(frozen=True, slots=True)
class WaitingOffset:
    """An offset that one person alone stands behind, and whose it is."""

    site: str
    station: str
    quantity: str
    offset: Offset

    @property
    def text(self) -> str:
        """The offset as people read it."""
        return f"{self.offset.size:+g} {self.offset.unit} from {format_iso(self.offset.at)[:16]}Z"


def load_waiting_offsets(connection: Connection, now: datetime) -> list[WaitingOffset]:
    """Offsets that wait for a second person, oldest first."""
    e, s = offset_entry.c, series.c
    rows = connection.execute(
        select(offset_entry, s.site, s.station, s.quantity)
        .join(series, s.id == e.series_id)
        .where(e.revoked_at.is_(None))
        .order_by(e.id)
    )
    return [
        WaitingOffset(r.site, r.station, r.quantity, read_record(Offset, r))
        for r in rows
        if not _is_second(r.author, r.confirmed_by) or r.confirmed_at > now
    ]


def confirm_offset(
    connection: Connection, offset_id: int, actor: Actor, reason: str, now: datetime, *, site: str | None = None
) -> None:
    """Note that somebody checked a declared offset.

    Once another person than its author has confirmed it, it counts for the two highest levels as well, and takes back
    a step that it answers; what its author confirmed, another person may confirm again.

    Raises:
        NotFoundError: no such offset, or not on the site named.
        RefusedError: it is confirmed or revoked already, or who confirms another's has no account where accounts exist,
            or one person had a hand in both accounts lately.
    """
    found = find_offset(connection, offset_id)
    if site is not None and find_site_of_offset(connection, offset_id) != site:
        raise NotFoundError(_NOT_HERE(number=offset_id, site=site))
    is_other = _is_second(found.author, actor.name)
    if is_other:
        require_account(connection, actor.name.strip())
        require_independent(connection, found.author, actor.name.strip(), now)
    if found.revoked_at is not None or (
        found.confirmed_at is not None and not (is_other and not _is_second(found.author, found.confirmed_by))
    ):
        raise RefusedError((_REVOKED if found.revoked_at else _CONFIRMED)(number=offset_id))
    _mark(connection, offset_id, "confirmed", actor, now)
    add_audit(connection, actor, "offset.confirm", f"offset:{offset_id}", {"reason": reason}, now)


def revoke_offset(connection: Connection, offset_id: int, actor: Actor, reason: str, now: datetime) -> None:
    """Withdraw an offset from now on; decisions taken before keep what they knew.

    One that a second person confirmed is not taken back by one: the opposite is declared, and confirmed in its turn.

    Raises:
        NotFoundError: no such offset.
        RefusedError: it is revoked already, two people stand behind it, or no reason is given.
    """
    found = find_offset(connection, offset_id)
    if found.revoked_at is not None:
        raise RefusedError(_REVOKED(number=offset_id))
    if _is_second(found.author, found.confirmed_by):
        raise RefusedError(
            f"{found.author} and {found.confirmed_by} stand behind offset {offset_id}; declare the opposite one "
            f"(`slopeward offsets add --at {format_iso(found.at)} --size {-found.size} --unit {found.unit}` ...), "
            "which a second person confirms"
        )
    if not reason.strip():
        raise RefusedError("to revoke an offset a reason is needed")
    _mark(connection, offset_id, "revoked", actor, now)
    add_audit(connection, actor, "offset.revoke", f"offset:{offset_id}", {"reason": reason}, now)


def load_offset_facts(connection: Connection, site: str, now: datetime) -> tuple[OffsetFact, ...]:
    """Offsets as they were known at an instant, oldest first; confirmed by another person or not.

    Those of the last year, and those that one person alone stands behind, however old.
    """
    rows = connection.execute(_plan_offset_facts(), {"site_id": site, "now": now})
    return tuple(
        OffsetFact(
            id=r.id,
            station=r.station,
            at_s=seconds(r.at),
            by=r.author,
            second_by=r.confirmed_by if is_second(r, now) else None,
            quantity=r.quantity,
            alone=0.0 if is_second(r, now) else convert_difference(r.size, r.unit, r.stored),
        )
        for r in rows
        if r.at >= now - FACTS_KEPT or not is_second(r, now)
    )


@cache  # put together once: it is asked at every look
def _plan_offset_facts() -> Select[Any]:
    e, s = offset_entry.c, series.c
    return (
        select(offset_entry, s.station, s.quantity, s.unit.label("stored"))
        .join(series, s.id == e.series_id)
        .where(
            s.site == bindparam("site_id"),
            e.known_from <= bindparam("now"),
            e.revoked_at.is_(None) | (e.revoked_at > bindparam("now")),
        )
        .order_by(e.at, e.id)
    )


def _is_second(author: str, confirmed_by: str | None) -> bool:
    return confirmed_by is not None and not is_same_person(confirmed_by, author)


def find_offset(connection: Connection, offset_id: int) -> Offset:
    """One offset, whatever its state; raises NotFoundError: no such offset."""
    found = find_record(connection, Offset, select(offset_entry).where(offset_entry.c.id == offset_id))
    if found is None:
        raise NotFoundError(_NONE(number=offset_id))
    return found


def _check(at: datetime, known_from: datetime, kind: str, reason: str, now: datetime) -> None:
    if not at <= known_from <= now:
        raise RefusedError(
            f"an offset is known at the earliest when it happened and at the latest now: at {format_iso(at)}, "
            f"known from {format_iso(known_from)}, now {format_iso(now)}"
        )
    if kind not in KINDS:
        raise RefusedError(f"offset kind {kind!r} is unknown; one of {', '.join(KINDS)}")
    if not reason.strip():
        raise RefusedError("an offset needs a reason")


def _mark(connection: Connection, offset_id: int, what: str, actor: Actor, now: datetime) -> None:
    values = {f"{what}_at": now, f"{what}_by": actor.name}
    connection.execute(update(offset_entry).where(offset_entry.c.id == offset_id).values(**values))
