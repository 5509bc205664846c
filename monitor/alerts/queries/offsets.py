"""Declared offsets (antenna change, re-zero): dated when they happened and since when we know; raw never changes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, select, update

from monitor.decision.records import OffsetFact
from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries.users import can_countersign, require_account, require_independent
from monitor.readings.tables import offset_entry, series
from monitor.sites.quantities import convert_difference
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.rows import add_row, find_record, read_record
from monitor.text.instants import epoch_s, format_iso
from monitor.text.message import Template
from monitor.text.names import is_same_person

FACTS_KEPT: Final = timedelta(days=366)
SAME_JUMP: Final = timedelta(hours=1)  # two offsets so near each other with nearly the same size are one jump
SAME_SIZE: Final = 0.1  # share of the size
NO_SERIES: Final = Template("series.none", "there is no series {series}")
_NONE: Final = Template("offset.none", "there is no offset {number}; see `slopeward offsets list`")
_NOT_HERE: Final = Template("offset.none_here", "there is no offset {number} on site {site}")
_CONFIRMED: Final = Template("offset.confirmed_already", "offset {number} is confirmed already")
_REVOKED: Final = Template("offset.revoked_already", "offset {number} is revoked already")
_SAME_JUMP: Final = Template(
    "offset.same_jump",
    "offset {other} subtracts nearly the same jump already. Revoke offset {number} (`slopeward offsets revoke`)",
)
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
    counts_from: datetime | None  # readers subtract it from then on; None while it waits for a second person
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
    """Declare an offset. Declaring the same one again returns the first one.

    Readers subtract an offset from the instant at which a second person confirms it. Until then the step that it would
    explain stays an open question. On a site on which fewer than two people may act, it counts from `known_from` on.

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
    stored = connection.execute(select(series.c.site, series.c.unit).where(series.c.id == series_id)).first()
    if stored is None:
        raise NotFoundError(NO_SERIES(series=str(series_id)))
    site, stored_unit = stored
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
    needs_second = can_countersign(connection, site)
    times = {"at": at, "known_from": known_from, "counts_from": None if needs_second else known_from}
    offset_id = add_row(connection, offset_entry, facts, author=author.name, **times)
    detail = facts | {"at": format_iso(at), "known_from": format_iso(known_from), "needs_second_person": needs_second}
    add_audit(connection, author, "offset.add", f"offset:{offset_id}", detail, now)
    return offset_id


def find_site_of_offset(connection: Connection, offset_id: int) -> str | None:
    """The site of an offset, None where there is no such offset."""
    of_series = series.c.id == offset_entry.c.series_id
    return connection.execute(select(series.c.site).where(of_series, offset_entry.c.id == offset_id)).scalar()


@dataclass(frozen=True, slots=True)
class WaitingOffset:
    """An offset that waits for a second person, with the series that it is about."""

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
        .where(e.revoked_at.is_(None), e.counts_from.is_(None) | (e.counts_from > now))
        .order_by(e.id)
    )
    return [WaitingOffset(r.site, r.station, r.quantity, read_record(Offset, r)) for r in rows]


def confirm_offset(
    connection: Connection, offset_id: int, actor: Actor, reason: str, now: datetime, *, site: str | None = None
) -> None:
    """Confirm a declared offset.

    An offset counts from the instant at which another person than its author confirms it: readers subtract it, and it
    explains the step at its epoch. After its author has confirmed it, another person may confirm it again.

    Raises:
        NotFoundError: no such offset, or not on the site named.
        RefusedError: it is confirmed or revoked already; another offset of the series already explains the same jump;
            the person has no account where accounts exist; or one person had a hand in both accounts lately.
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
    if is_other and found.counts_from is None:
        _require_unexplained(connection, found)
        connection.execute(update(offset_entry).where(offset_entry.c.id == offset_id).values(counts_from=now))
    add_audit(connection, actor, "offset.confirm", f"offset:{offset_id}", {"reason": reason}, now)


def _require_unexplained(connection: Connection, offset: Offset) -> None:
    """Refuse an offset whose jump another one explains already: both together would add a jump of their own."""
    e = offset_entry.c
    counting = connection.execute(
        select(e.id, e.size).where(
            e.series_id == offset.series_id,
            e.at >= offset.at - SAME_JUMP,
            e.at <= offset.at + SAME_JUMP,
            e.counts_from.is_not(None),
            e.revoked_at.is_(None),
        )
    )
    for other_id, size in counting:
        if abs(size - offset.size) <= SAME_SIZE * abs(offset.size):
            raise RefusedError(_SAME_JUMP(number=offset.id, other=other_id))


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
    """Return the offsets declared by an instant, by epoch: those of the last year, and all that do not count yet."""
    rows = connection.execute(_plan_offset_facts(), {"site_id": site, "now": now})
    return tuple(
        OffsetFact(
            id=r.id,
            station=r.station,
            at_s=epoch_s(r.at),
            by=r.author,
            second_by=r.confirmed_by if _is_second(r.author, r.confirmed_by) and r.confirmed_at <= now else None,
            quantity=r.quantity,
            counts=_counts(r, now),
        )
        for r in rows
        if r.at >= now - FACTS_KEPT or not _counts(r, now)
    )


def _counts(offset: Row[Any], now: datetime) -> bool:
    return offset.counts_from is not None and offset.counts_from <= now


@cache  # put together once: it is asked at every look
def _plan_offset_facts() -> Select[Any]:
    e, s = offset_entry.c, series.c
    return (
        select(offset_entry, s.station, s.quantity)
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
