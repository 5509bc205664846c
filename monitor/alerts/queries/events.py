"""Events on the slope: who said so and by which way, and the people who stand behind one so that it may explain."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    union,
    update,
)

from monitor.alerts.event_tables import event_confirmation, report, site_event
from monitor.canonical import canonical_json, digest_text
from monitor.decision.records import EventFact
from monitor.errors import NotFoundError, RefusedError
from monitor.people.queries.users import require_account, require_person, require_two
from monitor.readings.point_tables import point_delivery
from monitor.readings.records import SiteEvent
from monitor.readings.tables import observation_flag, offset_entry, series
from monitor.sites.tables import maintenance
from monitor.storage.actor import COMMAND, PAGE, Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import add_if_absent
from monitor.storage.rows import add_row, record_to_dict
from monitor.text.instants import epoch_s, format_iso
from monitor.text.message import NameList, Template, Timestamp
from monitor.text.names import is_same_person

_OF_SITE = (report, site_event, event_confirmation, maintenance, point_delivery)
_OF_SERIES = (offset_entry, observation_flag)
Marks = dict[tuple[str, str], Any]  # (table, column) -> newest
# columns that are set after the row was added
_LATER = {
    offset_entry.name: ("confirmed_at", "revoked_at"),
    maintenance.name: ("ended_at",),
    **dict.fromkeys((site_event.name, event_confirmation.name), ("withdrawn_at",)),
}


class ChangeDetector:
    """Compares the newest rows of reports, events, offsets and flags with those of the last look.

    All of them are found by an index or in a table of a few rows, so that a look every second costs nothing.
    """

    def __init__(self) -> None:
        self._known: Marks | None = None

    def find_changed(self, connection: Connection) -> frozenset[str]:
        """Sites with something new since the last look; none at the first."""
        marks = [(t.name, c, func.max(t.c[c])) for t in (*_OF_SITE, *_OF_SERIES) for c in _columns(t)]
        row = connection.execute(select(*[select(newest).scalar_subquery() for _, _, newest in marks])).one()
        before, self._known = self._known, {(t, c): value for (t, c, _), value in zip(marks, row, strict=True)}
        if before is None or before == self._known:
            return frozenset()
        wanted = [select(t.c.site).where(_newer(t, before)) for t in _OF_SITE]
        wanted += [
            select(series.c.site).join(t, t.c.series_id == series.c.id).where(_newer(t, before)) for t in _OF_SERIES
        ]
        return frozenset(connection.execute(union(*wanted)).scalars())


def _columns(table: Table) -> tuple[str, ...]:
    return ("id", *_LATER.get(table.name, ()))


def _newer(table: Table, before: Marks) -> ColumnElement[bool]:
    marks = ((table.c[name], before[table.name, name]) for name in _columns(table))
    return or_(*(column.is_not(None) if mark is None else column > mark for column, mark in marks))


UNKNOWN_WAY: Final = "unknown"  # of a person who came by none
MQTT: Final = "mqtt"  # the way of those whom nobody asks who they are
EARTHQUAKE: Final = "earthquake"  # the only kind that explains
WORDS: Final = 2  # people who are asked for at most
READ_AT_MOST: Final = 500  # events that a decision looks at
PLAUSIBLE_G: Final = 5.0
NO_EVENT: Final = Template("event.none", "there is no event {number}; see `slopeward events list`")
_EXPLAINS_NOTHING: Final = Template(
    "event.explains_nothing", "event {number} is '{kind}': it explains nothing, so there is nothing to confirm"
)
_CONFIRMED: Final = Template("event.confirmed_already", "event {number} is confirmed already by {names}")
_ONE_PERSON: Final = Template(
    "event.one_word", "{name} has confirmed event {number} already; a second person is needed"
)
_GONE: Final = Template("event.gone", "event {number} was withdrawn by {name} at {at}; add it anew in other words")


def add_event(
    connection: Connection,
    item: SiteEvent,
    received_at: datetime,
    by: str,
    *,
    via: str,
    known_from: datetime | None = None,
    actor: Actor | None = None,
) -> int | None:
    """Store an event on the slope, with who and by which way in the audit log; None when the very same is there.

    Args:
        received_at: since when the service knows it.
        by: who says so; by MQTT nobody has proven it.
        via: `mqtt`, `command` or `page`.
        known_from: since when people knew it, where that was earlier: a replay goes by it.
    """
    digest = _digest(item)
    facts = {"by": by, "received_at": received_at, "digest": digest, "known_from": known_from, "via": via}
    if not add_if_absent(connection, site_event, {**record_to_dict(item), **facts}):
        return None
    number = int(connection.execute(select(site_event.c.id).where(site_event.c.digest == digest)).scalar_one())
    is_person = via in {COMMAND, PAGE}
    detail = {"event": number, "kind": item.kind, "from": format_iso(item.from_at), "via": via}
    detail |= {} if is_person else {"said_by": by}
    detail |= {} if known_from is None else {"known_from": format_iso(known_from)}
    who = actor or (Actor(by, "person", via) if is_person else Actor(via, "program"))
    add_audit(connection, who, "event.add", f"site:{item.site}", detail, received_at)
    return number


def find_event(connection: Connection, item: SiteEvent) -> int | None:
    """The number of the very same event, where it is stored."""
    return connection.execute(select(site_event.c.id).where(site_event.c.digest == _digest(item))).scalar()


def _digest(item: SiteEvent) -> str:
    facts = record_to_dict(item) | {"from_at": format_iso(item.from_at), "to_at": format_iso(item.to_at)}
    return digest_text(canonical_json(facts))


# ---- who stands behind it ----------------------------------------------------------------------------------------
def confirm_event(
    connection: Connection, event_id: int, actor: Actor, reason: str, now: datetime, *, site: str | None = None
) -> tuple[str, ...]:
    """Note that a person stands behind an earthquake, which may then explain steps; returns who does by now.

    One person's word explains no step that an independent station shares for one of the two highest levels; two do.

    `reason`: how it is known; `site`: refuse an event of any other site.

    Raises:
        NotFoundError: no such event.
        RefusedError: no person, no reason, no open account where accounts exist, an event of another kind, one that
            this person has confirmed, or that two have.
    """
    require_person(actor, reason)
    row = connection.execute(select(site_event).where(site_event.c.id == event_id)).one_or_none()
    if row is None or site not in {None, row.site}:
        raise NotFoundError(NO_EVENT(number=event_id))
    _refuse_withdrawn(row)
    if row.kind.strip().lower() != EARTHQUAKE:
        raise RefusedError(_EXPLAINS_NOTHING(number=event_id, kind=row.kind))
    known = load_words(connection, [event_id], now).get(event_id, ())
    if len(known) >= WORDS:
        raise RefusedError(_CONFIRMED(number=event_id, names=NameList(known, conjunction=True)))
    if any(is_same_person(name, actor.name) for name in known):
        raise RefusedError(_ONE_PERSON(name=actor.name, number=event_id))
    require_account(connection, actor.name, site=row.site)
    if known:
        require_two(connection, Actor(known[0]), actor, now)
    facts = {"via": actor.via or UNKNOWN_WAY, "reason": reason}
    add_row(connection, event_confirmation, facts, event_id=event_id, site=row.site, at=now, by=actor.name)
    detail = facts | {"event": event_id, "kind": row.kind, "from": format_iso(row.from_at)}
    add_audit(connection, actor, "event.confirm", f"site:{row.site}", detail, now)
    return (*known, actor.name)


def withdraw_event(
    connection: Connection, event_id: int, actor: Actor, reason: str, now: datetime, *, second: Actor | None = None
) -> None:
    """Take an event back as a whole: it annotates, explains and makes stricter no more. The row stays.

    Whether that takes a second person is asked by `monitor.alerts.acts.event_acts`, which knows what is at stake.

    `reason`: why it does not hold; `second`: the other person, where it took two.

    Raises:
        NotFoundError: no such event.
        RefusedError: no person, no reason, no open account where accounts exist, or it is withdrawn already.
    """
    row = _take_hold(connection, event_id, actor, reason)
    connection.execute(update(site_event).where(site_event.c.id == event_id).values(**_gone(actor, now)))
    detail = {"event": event_id, "kind": row.kind, "from": format_iso(row.from_at), "reason": reason}
    detail |= {} if second is None else {"second_by": second.name}
    add_audit(connection, actor, "event.withdraw", f"site:{row.site}", detail, now)


def withdraw_confirmation(
    connection: Connection, event_id: int, of: str, actor: Actor, reason: str, now: datetime
) -> tuple[str, ...]:
    """Take back that a person stands behind an event; returns who still does.

    Steps that it explained are asked about anew. That can only raise, so one person is enough, whoever confirmed.

    `of`: who had confirmed it.

    Raises:
        NotFoundError: no such event, or that person does not stand behind it.
        RefusedError: no person, no reason, no open account where accounts exist, or the event is withdrawn.
    """
    row = _take_hold(connection, event_id, actor, reason)
    k = event_confirmation.c
    rows = connection.execute(select(k.id, k.by).where(k.event_id == event_id, k.withdrawn_at.is_(None))).all()
    mine = [x.id for x in rows if is_same_person(x.by, of)]
    if not mine:
        names = load_words(connection, [event_id], now).get(event_id, ())
        raise NotFoundError(f"{of} does not stand behind event {event_id}; who does: {', '.join(names) or 'nobody'}")
    connection.execute(update(event_confirmation).where(k.id.in_(mine)).values(**_gone(actor, now)))
    detail = {"event": event_id, "kind": row.kind, "from": format_iso(row.from_at), "of": of, "reason": reason}
    add_audit(connection, actor, "event.unconfirm", f"site:{row.site}", detail, now)
    return load_words(connection, [event_id], now).get(event_id, ())


def _take_hold(connection: Connection, event_id: int, actor: Actor, reason: str) -> Any:
    """The row of an event that stands, for a person who may take something of it back."""
    require_person(actor, reason)
    row = connection.execute(select(site_event).where(site_event.c.id == event_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFoundError(NO_EVENT(number=event_id))
    _refuse_withdrawn(row)
    require_account(connection, actor.name, site=row.site)
    return row


def _refuse_withdrawn(row: Any) -> None:
    if row.withdrawn_at is not None:
        at = Timestamp.of(row.withdrawn_at, "minute")
        raise RefusedError(_GONE(number=row.id, name=row.withdrawn_by, at=at))


def _gone(actor: Actor, now: datetime) -> dict[str, Any]:
    return {"withdrawn_at": now, "withdrawn_by": actor.name}


def load_words(connection: Connection, events: Sequence[int], now: datetime | None) -> dict[int, tuple[str, ...]]:
    """The people who stood behind events at an instant (None: who ever did), the first two of each, by event.

    What was taken back by then does not count, nor does what ever was where no instant is given.
    """
    k = event_confirmation.c
    found: dict[int, tuple[str, ...]] = {}
    wanted = select(k.event_id, k.by).where(k.event_id.in_(events), _stands(k, now)).order_by(k.at, k.id)
    for row in connection.execute(wanted if now is None else wanted.where(k.at <= now)):
        names = found.get(row.event_id, ())
        if len(names) < WORDS and not any(is_same_person(name, row.by) for name in names):
            found[row.event_id] = (*names, row.by)
    return found


def _stands(columns: Any, now: Any) -> ColumnElement[bool]:
    """What nobody had taken back at an instant (None: until today)."""
    stands: ColumnElement[bool] = columns.withdrawn_at.is_(None)
    return stands if now is None else or_(stands, columns.withdrawn_at > now)


# ---- what a decision sees ----------------------------------------------------------------------------------------
def load_event_facts(
    connection: Connection,
    site: str,
    since: datetime,
    now: datetime,
    *,
    as_reported: bool = False,
    strict_s: float = 0.0,
) -> tuple[EventFact, ...]:
    """Events that touch a time, as known at its end, newest first.

    Of too many, earthquakes that people stand behind are read first, then the strongest of those that make bounds
    stricter, then other earthquakes: no flood of messages pushes out what holds a slope to a stricter bound.

    `since`: begin of that time; `now`: its end; `as_reported`: an event counts as known from when people said it was,
    not from when the service heard of it; `strict_s`: for how long an earthquake may make bounds stricter.
    """
    k = event_confirmation.c
    strict_from = now - timedelta(seconds=strict_s)
    given = {"site_id": site, "since": since, "now": now, "strict_from": strict_from, "at_most": READ_AT_MOST}
    found: Sequence[Any] = connection.execute(_plan_event_facts(as_reported), given).all()
    if not found:
        return ()
    rows = sorted(found, key=lambda x: (-epoch_s(x.from_at), x.id))
    words = load_words(connection, [x.id for x in rows], now)
    if as_reported:  # who adds an event of the past says since when it was known; so did those who stand behind it
        words |= load_words(connection, [x.id for x in rows if x.known_from is not None], None)
    gone = {x.id for x in rows if x.withdrawn_at is not None and x.withdrawn_at <= now}
    taken_back = select(k.event_id).where(k.event_id.in_([x.id for x in rows]), k.withdrawn_at <= now)
    doubted = {*connection.execute(taken_back).scalars()}
    return tuple(
        EventFact(
            epoch_s(x.from_at),
            epoch_s(x.to_at),
            epoch_s((x.known_from or x.received_at) if as_reported else x.received_at),
            x.kind,
            x.value,
            x.text,
            x.by,
            x.id,
            x.via,
            () if x.id in gone else words.get(x.id, ()),
            x.id in gone,
            x.id in doubted,
        )
        for x in rows
    )


@cache  # put together once: it is asked at every look
def _plan_event_facts(as_reported: bool) -> Select[Any]:
    e, k, now = site_event.c, event_confirmation.c, bindparam("now", type_=site_event.c.to_at.type)
    known_at = func.coalesce(e.known_from, e.received_at) if as_reported else e.received_at
    is_quake = func.lower(func.trim(e.kind)) == EARTHQUAKE
    is_strict = and_(is_quake, e.from_at >= bindparam("strict_from"), e.value > 0.0, e.value <= PLAUSIBLE_G)
    is_confirmed = and_(is_quake, exists().where(k.event_id == e.id))
    rank = case((is_confirmed, 0), (is_strict, 1), (is_quake, 2), else_=3)
    return (
        select(site_event)
        .where(e.site == bindparam("site_id"), e.to_at >= bindparam("since"), e.from_at <= now, known_at <= now)
        .where(or_(_stands(e, now), is_confirmed))  # what explained and was withdrawn brings its questions back
        .order_by(rank, case((rank == 1, -e.value), else_=0.0), e.from_at.desc(), e.id)
        .limit(bindparam("at_most"))
    )


def find_event_kind(connection: Connection, event_id: int, site: str) -> str:
    """What kind of event it is; raises NotFoundError where that site has none of that number."""
    e = site_event.c
    kind = connection.execute(select(e.kind).where(e.id == event_id, e.site == site)).scalar()
    if kind is None:
        raise NotFoundError(f"there is no event {event_id} of {site}; see `slopeward events list`")
    return str(kind)
