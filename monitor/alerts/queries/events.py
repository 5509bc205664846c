"""Events on a slope, such as earthquakes or blasting, and the people who confirm them."""

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
# The newest value of each column, by table and column.
NewestValues = dict[tuple[str, str], Any]
# Columns that are set after the row was added.
_LATER_COLUMNS = {
    offset_entry.name: ("confirmed_at", "revoked_at"),
    maintenance.name: ("ended_at",),
    **dict.fromkeys((site_event.name, event_confirmation.name), ("withdrawn_at",)),
}


class ChangeDetector:
    """Detect new rows of reports, events, offsets and flags since the last call.

    All queries use an index or a small table, so that a call each second is cheap.
    """

    def __init__(self) -> None:
        self._newest: NewestValues | None = None

    def find_changed(self, connection: Connection) -> frozenset[str]:
        """Return the sites with new rows since the last call; none at the first call."""
        columns = [(table, name) for table in (*_OF_SITE, *_OF_SERIES) for name in _list_columns(table)]
        maxima = [select(func.max(table.c[name])).scalar_subquery() for table, name in columns]
        row = connection.execute(select(*maxima)).one()
        before = self._newest
        self._newest = {(table.name, name): value for (table, name), value in zip(columns, row, strict=True)}
        if before is None or before == self._newest:
            return frozenset()
        queries = [select(table.c.site).where(_is_newer(table, before)) for table in _OF_SITE]
        for table in _OF_SERIES:
            of_series = select(series.c.site).join(table, table.c.series_id == series.c.id)
            queries.append(of_series.where(_is_newer(table, before)))
        return frozenset(connection.execute(union(*queries)).scalars())


def _list_columns(table: Table) -> tuple[str, ...]:
    return ("id", *_LATER_COLUMNS.get(table.name, ()))


def _is_newer(table: Table, before: NewestValues) -> ColumnElement[bool]:
    conditions = []
    for name in _list_columns(table):
        column, newest = table.c[name], before[table.name, name]
        conditions.append(column.is_not(None) if newest is None else column > newest)
    return or_(*conditions)


# Way of a person without a known one.
UNKNOWN_WAY: Final = "unknown"
# Events by MQTT come from senders who are not authenticated as people.
MQTT: Final = "mqtt"
# The only kind of event that explains jumps.
EARTHQUAKE: Final = "earthquake"
# Most people who can confirm an event.
_MAX_CONFIRMATIONS: Final = 2
# Most events that are inputs of a decision.
READ_AT_MOST: Final = 500
# A ground acceleration above this, in g, is not plausible.
PLAUSIBLE_G: Final = 5.0
NO_EVENT: Final = Template("event.none", "there is no event {number}; see `slopeward events list`")
_EXPLAINS_NOTHING: Final = Template(
    "event.explains_nothing", "event {number} is '{kind}': it explains nothing, so there is nothing to confirm"
)
_CONFIRMED: Final = Template("event.confirmed_already", "event {number} is confirmed already by {names}")
_ONE_PERSON: Final = Template(
    "event.one_word", "{name} has confirmed event {number} already; a second person is needed"
)
_GONE: Final = Template("event.gone", "event {number} was withdrawn by {name} at {at}; add it again with another text")


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
    """Store an event on a slope, with an entry in the audit log.

    Args:
        received_at: When the service received it.
        by: Name of the sender. It is not verified if the event came by MQTT.
        via: `mqtt`, `command` or `page`.
        known_from: When people knew of the event, if that was earlier. A replay uses it.

    Returns:
        The number of the event; None if the same event is stored already.
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
    """Return the number of a stored event that equals `item`; None if there is none."""
    return connection.execute(select(site_event.c.id).where(site_event.c.digest == _digest(item))).scalar()


def _digest(item: SiteEvent) -> str:
    facts = record_to_dict(item) | {"from_at": format_iso(item.from_at), "to_at": format_iso(item.to_at)}
    return digest_text(canonical_json(facts))


# ---- confirmations ---------------------------------------------------------------------------------------------
def confirm_event(
    connection: Connection, event_id: int, actor: Actor, reason: str, now: datetime, *, site: str | None = None
) -> tuple[str, ...]:
    """Store that a person confirms an earthquake, which can then explain jumps. Return who has confirmed it.

    If an independent station shows the same jump and one of the two highest levels depends on it, two people must
    confirm.

    Args:
        reason: How the person knows.
        site: The site that the event must belong to; None for any site.

    Raises:
        NotFoundError: The event does not exist.
        RefusedError: Person or reason are missing, the person has no open account although accounts exist, the event is
            no earthquake, or this person or two people have confirmed it already.
    """
    require_person(actor, reason)
    row = connection.execute(select(site_event).where(site_event.c.id == event_id)).one_or_none()
    if row is None or site not in {None, row.site}:
        raise NotFoundError(NO_EVENT(number=event_id))
    _refuse_withdrawn(row)
    if row.kind.strip().lower() != EARTHQUAKE:
        raise RefusedError(_EXPLAINS_NOTHING(number=event_id, kind=row.kind))
    confirmed_by = load_confirmations(connection, [event_id], now).get(event_id, ())
    if len(confirmed_by) >= _MAX_CONFIRMATIONS:
        raise RefusedError(_CONFIRMED(number=event_id, names=NameList(confirmed_by, conjunction=True)))
    if any(is_same_person(name, actor.name) for name in confirmed_by):
        raise RefusedError(_ONE_PERSON(name=actor.name, number=event_id))
    require_account(connection, actor.name, site=row.site)
    if confirmed_by:
        require_two(connection, Actor(confirmed_by[0]), actor, now)
    facts = {"via": actor.via or UNKNOWN_WAY, "reason": reason}
    add_row(connection, event_confirmation, facts, event_id=event_id, site=row.site, at=now, by=actor.name)
    detail = facts | {"event": event_id, "kind": row.kind, "from": format_iso(row.from_at)}
    add_audit(connection, actor, "event.confirm", f"site:{row.site}", detail, now)
    return (*confirmed_by, actor.name)


def withdraw_event(
    connection: Connection, event_id: int, actor: Actor, reason: str, now: datetime, *, second: Actor | None = None
) -> None:
    """Withdraw an event. It no longer explains jumps or lowers bounds. The row is kept.

    `monitor.alerts.acts.event_acts` checks whether a second person is needed.

    Args:
        reason: Why the event is wrong.
        second: The second person, if one was needed.

    Raises:
        NotFoundError: The event does not exist.
        RefusedError: Person or reason are missing, the person has no open account although accounts exist, or the event
            is withdrawn already.
    """
    row = _require_event(connection, event_id, actor, reason)
    connection.execute(update(site_event).where(site_event.c.id == event_id).values(**_make_withdrawal(actor, now)))
    detail = {"event": event_id, "kind": row.kind, "from": format_iso(row.from_at), "reason": reason}
    detail |= {} if second is None else {"second_by": second.name}
    add_audit(connection, actor, "event.withdraw", f"site:{row.site}", detail, now)


def withdraw_confirmation(
    connection: Connection, event_id: int, of: str, actor: Actor, reason: str, now: datetime
) -> tuple[str, ...]:
    """Withdraw the confirmation of an event by a person. Return who still confirms it.

    Jumps that it explained become open questions again. That can only raise a level, so one person is enough.

    Args:
        of: The person who had confirmed the event.

    Raises:
        NotFoundError: The event does not exist, or that person has not confirmed it.
        RefusedError: Person or reason are missing, the person has no open account although accounts exist, or the event
            is withdrawn.
    """
    row = _require_event(connection, event_id, actor, reason)
    k = event_confirmation.c
    rows = connection.execute(select(k.id, k.by).where(k.event_id == event_id, k.withdrawn_at.is_(None))).all()
    confirmation_ids = [row.id for row in rows if is_same_person(row.by, of)]
    if not confirmation_ids:
        names = load_confirmations(connection, [event_id], now).get(event_id, ())
        raise NotFoundError(f"{of} has not confirmed event {event_id}; confirmed by: {', '.join(names) or 'nobody'}")
    connection.execute(
        update(event_confirmation).where(k.id.in_(confirmation_ids)).values(**_make_withdrawal(actor, now))
    )
    detail = {"event": event_id, "kind": row.kind, "from": format_iso(row.from_at), "of": of, "reason": reason}
    add_audit(connection, actor, "event.unconfirm", f"site:{row.site}", detail, now)
    return load_confirmations(connection, [event_id], now).get(event_id, ())


def _require_event(connection: Connection, event_id: int, actor: Actor, reason: str) -> Any:
    """Return the row of an event that is not withdrawn, for a person who may withdraw something of it."""
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


def _make_withdrawal(actor: Actor, now: datetime) -> dict[str, Any]:
    return {"withdrawn_at": now, "withdrawn_by": actor.name}


def load_confirmations(
    connection: Connection, events: Sequence[int], now: datetime | None
) -> dict[int, tuple[str, ...]]:
    """Return the first two people who confirmed each event, by event.

    Args:
        now: Confirmations count that were given, and not withdrawn, at this time. None for all that are not withdrawn.
    """
    k = event_confirmation.c
    names_by_event: dict[int, tuple[str, ...]] = {}
    query = select(k.event_id, k.by).where(k.event_id.in_(events), _is_not_withdrawn(k, now)).order_by(k.at, k.id)
    for row in connection.execute(query if now is None else query.where(k.at <= now)):
        names = names_by_event.get(row.event_id, ())
        if len(names) < _MAX_CONFIRMATIONS and not any(is_same_person(name, row.by) for name in names):
            names_by_event[row.event_id] = (*names, row.by)
    return names_by_event


def _is_not_withdrawn(columns: Any, now: Any) -> ColumnElement[bool]:
    """Return the condition that a row was not withdrawn at `now`; None for today."""
    never: ColumnElement[bool] = columns.withdrawn_at.is_(None)
    return never if now is None else or_(never, columns.withdrawn_at > now)


# ---- inputs of decisions --------------------------------------------------------------------------------------
def load_event_facts(
    connection: Connection,
    site: str,
    since: datetime,
    now: datetime,
    *,
    as_reported: bool = False,
    earthquake_span_s: float = 0.0,
) -> tuple[EventFact, ...]:
    """Return the events since `since`, as known at `now`, the newest first.

    At most `READ_AT_MOST` events are loaded: confirmed earthquakes first, then the strongest earthquakes that lower
    bounds, then other earthquakes. So a flood of messages cannot displace an event that lowers bounds.

    Args:
        as_reported: Whether an event counts from when people knew of it, not from when the service received it.
        earthquake_span_s: For how many seconds an earthquake can lower bounds.
    """
    k = event_confirmation.c
    strict_from = now - timedelta(seconds=earthquake_span_s)
    parameters = {"site_id": site, "since": since, "now": now, "strict_from": strict_from, "at_most": READ_AT_MOST}
    event_rows: Sequence[Any] = connection.execute(_query_event_facts(as_reported), parameters).all()
    if not event_rows:
        return ()
    rows = sorted(event_rows, key=lambda row: (-epoch_s(row.from_at), row.id))
    confirmations = load_confirmations(connection, [row.id for row in rows], now)
    if as_reported:
        # A past event was confirmed when it became known, not when it was entered.
        confirmations |= load_confirmations(connection, [row.id for row in rows if row.known_from is not None], None)
    withdrawn_ids = {row.id for row in rows if row.withdrawn_at is not None and row.withdrawn_at <= now}
    withdrawn_confirmations = select(k.event_id).where(k.event_id.in_([row.id for row in rows]), k.withdrawn_at <= now)
    unconfirmed_ids = {*connection.execute(withdrawn_confirmations).scalars()}
    return tuple(
        EventFact(
            epoch_s(row.from_at),
            epoch_s(row.to_at),
            epoch_s((row.known_from or row.received_at) if as_reported else row.received_at),
            row.kind,
            row.value,
            row.text,
            row.by,
            row.id,
            row.via,
            () if row.id in withdrawn_ids else confirmations.get(row.id, ()),
            row.id in withdrawn_ids,
            row.id in unconfirmed_ids,
        )
        for row in rows
    )


# Each evaluation runs this query, so it is built once.
@cache
def _query_event_facts(as_reported: bool) -> Select[Any]:
    e, k, now = site_event.c, event_confirmation.c, bindparam("now", type_=site_event.c.to_at.type)
    known_at = func.coalesce(e.known_from, e.received_at) if as_reported else e.received_at
    is_quake = func.lower(func.trim(e.kind)) == EARTHQUAKE
    is_strict = and_(is_quake, e.from_at >= bindparam("strict_from"), e.value > 0.0, e.value <= PLAUSIBLE_G)
    is_confirmed = and_(is_quake, exists().where(k.event_id == e.id))
    rank = case((is_confirmed, 0), (is_strict, 1), (is_quake, 2), else_=3)
    return (
        select(site_event)
        .where(e.site == bindparam("site_id"), e.to_at >= bindparam("since"), e.from_at <= now, known_at <= now)
        # A withdrawn event that had explained a jump makes it an open question again.
        .where(or_(_is_not_withdrawn(e, now), is_confirmed))
        .order_by(rank, case((rank == 1, -e.value), else_=0.0), e.from_at.desc(), e.id)
        .limit(bindparam("at_most"))
    )


def find_event_kind(connection: Connection, event_id: int, site: str) -> str:
    """Return the kind of an event.

    Raises:
        NotFoundError: The site has no event with this number.
    """
    e = site_event.c
    kind = connection.execute(select(e.kind).where(e.id == event_id, e.site == site)).scalar()
    if kind is None:
        raise NotFoundError(f"there is no event {event_id} of {site}; see `slopeward events list`")
    return str(kind)
