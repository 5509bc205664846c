"""Declared offsets, such as after a change of antenna. Raw values are never changed; readers subtract offsets."""

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
from monitor.storage.rows import add_row, find_record, row_to_record
from monitor.text.figures import find_form
from monitor.text.instants import epoch_s, format_iso
from monitor.text.message import Template
from monitor.text.names import is_same_person

# Offsets that count are inputs of decisions for this long.
FACTS_KEPT: Final = timedelta(days=366)
# Two offsets of one series explain the same jump if they are at most this far apart, and their sizes differ by at most
# this share.
SAME_JUMP: Final = timedelta(hours=1)
SAME_SIZE: Final = 0.1
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
    """A declared jump of a series: `corrected = raw - sum(size of offsets at or before the epoch)`.

    Attributes:
        at: The first epoch after the jump.
        known_from: Decisions before this time did not know the offset.
        size: In `unit`, which is the unit of the series.
        counts_from: From when readers subtract the offset; None while it waits for a second person.
    """

    id: int
    series_id: int
    at: datetime
    known_from: datetime
    size: float
    unit: str
    kind: str
    author: str
    reason: str
    confirmed_at: datetime | None
    confirmed_by: str | None
    counts_from: datetime | None
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
    """Declare an offset. If the same offset is declared already, it is returned.

    Readers subtract an offset from when a second person confirms it. Until then the jump that it would explain remains
    an open question. If fewer than two people may act on the site, the offset counts from `known_from`.

    Args:
        at: The first epoch after the jump.
        known_from: When the offset became known; not before `at`, not after `now`.
        size: Size of the jump in the raw values, in `unit`. It is stored in the unit of the series.
        unit: Any unit that converts into the unit of the series.
        kind: One of `KINDS`.

    Returns:
        The id of the offset.

    Raises:
        NotFoundError: The series does not exist.
        RefusedError: The times are out of order, the size is zero or not finite, kind or unit are not valid, or the
            reason is missing.
    """
    stored = connection.execute(select(series.c.site, series.c.unit).where(series.c.id == series_id)).first()
    if stored is None:
        raise NotFoundError(NO_SERIES(series=str(series_id)))
    site, stored_unit = stored
    _require_valid(at, known_from, kind, reason, now)
    try:
        converted = convert_difference(size, unit, stored_unit)
    except ValueError as error:
        raise RefusedError(f"offset in {unit!r} for a series in {stored_unit!r}: {error}") from error
    if converted == 0.0 or not -1e300 < converted < 1e300:
        raise RefusedError(f"offset size {size!r}: a finite number other than zero is needed")
    e = offset_entry.c
    # The opposite offset takes an offset back, so the newest of both counts.
    newest = connection.execute(
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
    """Return the site of an offset; None if the offset does not exist."""
    of_series = series.c.id == offset_entry.c.series_id
    return connection.execute(select(series.c.site).where(of_series, offset_entry.c.id == offset_id)).scalar()


@dataclass(frozen=True, slots=True)
class WaitingOffset:
    """An offset that waits for a second person, with its series."""

    site: str
    station: str
    quantity: str
    offset: Offset

    @property
    def text(self) -> str:
        """Size, unit and time of the offset, such as "+25 mm from 2026-03-01T06:00Z"."""
        size = self.offset.size
        return f"{size:+{find_form(size, 4)}} {self.offset.unit} from {format_iso(self.offset.at)[:16]}Z"


def load_waiting_offsets(connection: Connection, now: datetime) -> list[WaitingOffset]:
    """Return the offsets that wait for a second person, the oldest first."""
    e, s = offset_entry.c, series.c
    rows = connection.execute(
        select(offset_entry, s.site, s.station, s.quantity)
        .join(series, s.id == e.series_id)
        .where(e.revoked_at.is_(None), e.counts_from.is_(None) | (e.counts_from > now))
        .order_by(e.id)
    )
    return [WaitingOffset(r.site, r.station, r.quantity, row_to_record(Offset, r)) for r in rows]


def confirm_offset(
    connection: Connection, offset_id: int, actor: Actor, reason: str, now: datetime, *, site: str | None = None
) -> None:
    """Confirm a declared offset.

    When a person other than its author confirms an offset, readers subtract it from then on, and it explains the jump
    at its epoch. If the author has confirmed it, another person can still confirm it.

    Args:
        site: The site that the offset must belong to; None for any site.

    Raises:
        NotFoundError: The offset does not exist, or not on this site.
        RefusedError: The offset is confirmed or revoked already; another offset of the series explains the same jump;
            the person has no account although accounts exist; or one person recently changed both accounts.
    """
    offset = find_offset(connection, offset_id)
    if site is not None and find_site_of_offset(connection, offset_id) != site:
        raise NotFoundError(_NOT_HERE(number=offset_id, site=site))
    is_other = _is_second(offset.author, actor.name)
    if is_other:
        require_account(connection, actor.name.strip())
        require_independent(connection, offset.author, actor.name.strip(), now)
    if offset.revoked_at is not None:
        raise RefusedError(_REVOKED(number=offset_id))
    has_two_people = _is_second(offset.author, offset.confirmed_by)
    if offset.confirmed_at is not None and (has_two_people or not is_other):
        raise RefusedError(_CONFIRMED(number=offset_id))
    _mark(connection, offset_id, "confirmed", actor, now)
    if is_other and offset.counts_from is None:
        _require_unexplained(connection, offset)
        connection.execute(update(offset_entry).where(offset_entry.c.id == offset_id).values(counts_from=now))
    add_audit(connection, actor, "offset.confirm", f"offset:{offset_id}", {"reason": reason}, now)


def _require_unexplained(connection: Connection, offset: Offset) -> None:
    """Refuse an offset whose jump another offset explains already. Both together would add a jump."""
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
    """Revoke an offset from now on. Earlier decisions remain as they are.

    One person alone cannot revoke an offset that two people confirmed. Instead the opposite offset is declared and
    confirmed.

    Raises:
        NotFoundError: The offset does not exist.
        RefusedError: The offset is revoked already, two people confirmed it, or the reason is missing.
    """
    offset = find_offset(connection, offset_id)
    if offset.revoked_at is not None:
        raise RefusedError(_REVOKED(number=offset_id))
    if _is_second(offset.author, offset.confirmed_by):
        raise RefusedError(
            f"{offset.author} and {offset.confirmed_by} confirmed offset {offset_id}; declare the opposite offset "
            f"(`slopeward offsets add --at {format_iso(offset.at)} --size {-offset.size} --unit {offset.unit}` ...), "
            "which a second person confirms"
        )
    if not reason.strip():
        raise RefusedError("give a reason for revoking the offset")
    _mark(connection, offset_id, "revoked", actor, now)
    add_audit(connection, actor, "offset.revoke", f"offset:{offset_id}", {"reason": reason}, now)


def load_offset_facts(connection: Connection, site: str, now: datetime) -> tuple[OffsetFact, ...]:
    """Return the offsets known at `now`, by epoch: those of the last year, and all that do not count yet."""
    rows = connection.execute(_query_offset_facts(), {"site_id": site, "now": now})
    return tuple(
        OffsetFact(
            id=row.id,
            station=row.station,
            at_s=epoch_s(row.at),
            by=row.author,
            second_by=row.confirmed_by
            if _is_second(row.author, row.confirmed_by) and row.confirmed_at <= now
            else None,
            quantity=row.quantity,
            counts=_counts(row, now),
        )
        for row in rows
        if row.at >= now - FACTS_KEPT or not _counts(row, now)
    )


def _counts(offset: Row[Any], now: datetime) -> bool:
    return offset.counts_from is not None and offset.counts_from <= now


# Each evaluation runs this query, so it is built once.
@cache
def _query_offset_facts() -> Select[Any]:
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
    """Return an offset in any state.

    Raises:
        NotFoundError: The offset does not exist.
    """
    offset = find_record(connection, Offset, select(offset_entry).where(offset_entry.c.id == offset_id))
    if offset is None:
        raise NotFoundError(_NONE(number=offset_id))
    return offset


def _require_valid(at: datetime, known_from: datetime, kind: str, reason: str, now: datetime) -> None:
    if not at <= known_from <= now:
        raise RefusedError(
            f"an offset becomes known after it happened and before now: at {format_iso(at)}, "
            f"known from {format_iso(known_from)}, now {format_iso(now)}"
        )
    if kind not in KINDS:
        raise RefusedError(f"offset kind {kind!r} is unknown; one of {', '.join(KINDS)}")
    if not reason.strip():
        raise RefusedError("an offset needs a reason")


def _mark(connection: Connection, offset_id: int, what: str, actor: Actor, now: datetime) -> None:
    values = {f"{what}_at": now, f"{what}_by": actor.name}
    connection.execute(update(offset_entry).where(offset_entry.c.id == offset_id).values(**values))
