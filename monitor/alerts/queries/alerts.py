"""Alerts with their ISA-18.2 chain of events, and the outbox rows that each event brings, in one transaction."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, bindparam, case, func, insert, or_, select, update

from monitor.alerts.evaluation_tables import decision
from monitor.alerts.notification import DeliveryState
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.evaluations import add_decision, load_decision
from monitor.alerts.queries.maintenance import WHO_AND_WHY
from monitor.alerts.queries.recipients import list_addressees
from monitor.alerts.records import UNCONFIRMED, AlertState
from monitor.alerts.states import AlertStep, find_cause, longest_shelf, may_be_suppressed, step
from monitor.alerts.tables import alert, alert_event, alert_outcome
from monitor.decision.alert_texts import ChangeNotice, LevelOnset, name_level, unwrap_reason, write_message
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.headline import FrozenDecision, find_headline
from monitor.errors import LevelRisenError, NeedsSecondError, NotFoundError, RefusedError
from monitor.sites.channels import find_channel_traits
from monitor.sites.records import Recipient, Site
from monitor.sites.tables import maintenance
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.audit import add_audit
from monitor.storage.rows import add_row, fill_row, find_record, load_records, match_given, read_record
from monitor.text.message import Duration, Template, Timestamp, message_columns, plain_to_messages, read_columns
from monitor.text.names import fold_name, is_same_person

FAILING: Final = "health:channel:"  # begins the key of the alarm of a channel that fails its tests
UNDELIVERED: Final = "health:undelivered:"  # ... and of one that takes no messages
_CAME_AND_WENT: Final = Template("delivery.came_and_went", "the alert came and went while it was put aside")
RISEN: Final = Template("alert.risen", "alert {number} has risen to level {level} since it was looked at; look again")
_CLOSED: Final = Template("alert.closed_already", "alert {number} is closed already")
_LEVEL_STANDS: Final = Template("alert.level_stands", "alert {number}: the hazard level stands; lower the level first")
_CLOSE_ALONE: Final = Template(
    "alert.close_alone", "alert {number}: the condition stands; one person may not close it, name a second one"
)
_HIDE_ALONE: Final = Template("alert.hide_alone", "alert {number} may not be hidden by one person; name a second one")
_TOP: Final = Template("alert.top_on_no_shelf", "alert {number} is of the highest level: it goes on no shelf")
_PAST: Final = Template("alert.shelf_in_past", "alert {number} cannot be shelved: the end lies in the past")
_LONG: Final = Template("alert.shelf_long", "alert {number} is shelved for {longest} at most; shelve it again then")
_NEVER_OUT: Final = Template("alert.never_out", "alert {number} is a hazard: it is never taken out of service")
_SHELVED: Final = Template("alert.shelved", "{reason} (until {at})")  # the reason is a person's own text
_SHELVED_WITH: Final = Template("alert.shelved_with", "{reason} (until {at}, with {name})")
_WITH: Final = Template("alert.with", "{reason} (with {name})")
_SHELF_OVER: Final = Template("alert.shelf_over", "the time on the shelf is over")
_WORK: Final = Template("alert.work", "work on {station} until {at}, by {name}: {reason}")
_WORK_OVER: Final = Template("alert.work_over", "the work on its station is over")
UNKNOWN_ALERT: Final = Template("alert.unknown", "there is no alert {n}")
NO_ALERT: Final = Template("alert.none_listed", "alert {number} does not exist; see `slopeward alerts list`")
OUTCOMES: Final = ("true", "false_instrument", "false_weather", "false_work", "drill", "unknown")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as it stands."""

    id: int
    site: str
    ledger: str
    key: str
    level: int
    peak_level: int
    state: str
    exercise: bool
    raised_at: datetime
    data_time: datetime | None
    reason: str
    decision_id: int | None
    rule_version: str
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One step in the life of an alert."""

    id: int
    alert_id: int
    sequence: int
    at: datetime
    data_time: datetime | None
    from_state: str | None
    to_state: str
    from_level: int | None
    to_level: int
    actor: str
    actor_kind: str
    reason: str
    decision_id: int | None
    via: str | None = None  # by which way a person acted
    until_at: datetime | None = None  # of a shelving: when the alert comes back


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an alert turned out to be, by the newest word of a person: one of `OUTCOMES`."""

    kind: str
    at: datetime


# ---- changes ordered by decisions ------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ChangeContext:
    """What the changes of one occasion share."""

    site_id: str  # site, or `status` for the service itself
    site: Site | None  # declaration, for level names and actions; None for `status`
    recipients: Sequence[Recipient]  # who may be told; of a team whoever is on duty now
    actor: Actor
    now: datetime
    rule_version: str  # code and configuration that decided
    decision_id: int | None = None  # frozen inputs; None stores each change's own evidence as one
    exercise: bool = False  # true marks a drill


def apply_changes(connection: Connection, changes: Sequence[AlertChange], context: ChangeContext) -> list[int]:
    """Write alert, event and notification rows for each change; call inside the transaction of the decision.

    A change that says what already is writes nothing. An opened or worsened alert asks to be acknowledged again; a
    condition that is gone closes an acknowledged alert and leaves an unacknowledged one waiting for a person.
    Returns the ids of the alert events written, in order.
    """
    written = (_apply_change(connection, change, context) for change in changes)
    events = [event for event in written if event is not None]
    if any(change.open and may_be_suppressed(change.ledger, change.level, change.key) for change in changes):
        follow_maintenance(connection, context.site_id, SERVICE_ACTOR, context.now)
    return events


def notify_site(
    connection: Connection, site: Site, changes: Sequence[AlertChange], now: datetime, rule_version: str
) -> None:
    """The same for what the service itself found at a site; its recipients are told."""
    apply_changes(connection, changes, ChangeContext(site.id, site, site.recipients, SERVICE_ACTOR, now, rule_version))


def _apply_change(connection: Connection, change: AlertChange, context: ChangeContext) -> int | None:
    a = alert.c
    is_open = (a.site == context.site_id, a.ledger == change.ledger, a.key == change.key, a.closed_at.is_(None))
    # what a person does at this moment is waited for and then seen
    found = connection.execute(select(alert).where(*is_open).with_for_update()).one_or_none()
    if not _is_change(found, change):
        return None
    version = context.site.version if context.site else ""
    basis = context.decision_id or add_decision(connection, context.site_id, context.now, version, change.evidence)
    context = replace(context, decision_id=basis)
    event = (
        _open_alert(connection, change, context) if found is None else _move_alert(connection, found, change, context)
    )
    if found is not None and not change.open and found.state in (AlertState.SUPPRESSED, AlertState.OUT_OF_SERVICE):
        n = notification.c
        waiting = (n.alert_id == found.id, n.state.in_((str(DeliveryState.QUEUED), str(DeliveryState.FAILED_RETRY))))
        done = {"state": str(DeliveryState.SUPERSEDED), "superseded_by": n.id, "next_attempt_at": None}
        connection.execute(
            update(notification).where(*waiting).values(**done, **message_columns("last_error", _CAME_AND_WENT()))
        )
    elif change.notify and (change.open or change.ledger == AlertCategory.HAZARD or _was_notified(connection, found)):
        _queue(connection, change, 0 if found is None else int(found.level), event, context)
    return event


def _is_change(found: Row[Any] | None, change: AlertChange) -> bool:
    """Whether a change of an alert, as it is open now or not, brings anything but what already is."""
    if change.repeats:
        return found is not None and bool(found.level == change.level)
    if found is None:
        return change.open
    is_gone = found.state == AlertState.RETURNED_UNACKNOWLEDGED
    return bool(is_gone or found.level != change.level) if change.open else not is_gone


def _was_notified(connection: Connection, found: Row[Any] | None) -> bool:
    """Whether somebody was sent the alert: the end of what nobody heard of is no message."""
    n = notification.c
    return (
        found is not None
        and connection.execute(select(n.id).where(n.alert_id == found.id).limit(1)).first() is not None
    )


def _open_alert(connection: Connection, change: AlertChange, context: ChangeContext) -> int:
    facts = {"data_time": change.data_time, "decision_id": context.decision_id}
    row = fill_row(alert, change, site=context.site_id, ledger=str(change.ledger), peak_level=change.level, **facts)
    row |= {"state": str(AlertState.UNACKNOWLEDGED), "exercise": context.exercise, "raised_at": context.now}
    number = add_row(connection, alert, row, rule_version=context.rule_version)
    state = step(None, AlertStep.RAISE, number)
    return _add_event(
        connection, number, context.now, context.actor, change.reason, state, to_level=change.level, **facts
    )


def _move_alert(connection: Connection, found: Row[Any], change: AlertChange, context: ChangeContext) -> int:
    level, before, basis = change.level if change.open else 0, AlertState(found.state), context.decision_id
    values: dict[str, Any] = {"level": level, "decision_id": basis, **message_columns("reason", change.reason)}
    if change.repeats:
        event, values = AlertStep.CHANGE, {}
    elif change.open:
        reopened = before is AlertState.RETURNED_UNACKNOWLEDGED
        event = AlertStep.RAISE if reopened else AlertStep.WORSEN if level > found.level else AlertStep.CHANGE
        if event is not AlertStep.CHANGE:
            values |= {"acknowledged_at": None, "acknowledged_by": None}
        values |= {"peak_level": max(level, found.peak_level), "data_time": change.data_time}
        values |= {"rule_version": context.rule_version}
    else:
        # the confirmation that such an alarm asked for has come: nothing is left to acknowledge
        event = AlertStep.ANSWER if change.key.startswith(UNCONFIRMED) else AlertStep.CLEAR
    state = step(before, event, found.id)
    values |= {"closed_at": context.now} if state is AlertState.CLOSED else {}
    connection.execute(update(alert).where(alert.c.id == found.id).values(state=str(state), **values))
    was = {"from_state": found.state, "from_level": found.level, "data_time": change.data_time, "decision_id": basis}
    return _add_event(connection, found.id, context.now, context.actor, change.reason, state, to_level=level, **was)


def _add_event(
    connection: Connection, alert_id: int, now: datetime, actor: Actor, reason: str, state: AlertState, **columns: Any
) -> int:
    e = alert_event.c
    last = connection.execute(select(func.max(e.sequence)).where(e.alert_id == alert_id)).scalar()
    columns |= {"alert_id": alert_id, "sequence": (last or 0) + 1, "at": now, "to_state": str(state)}
    columns |= {"actor": actor.name, "actor_kind": actor.kind, "via": actor.via, "reason": reason}
    return add_row(connection, alert_event, columns)


def _queue(connection: Connection, change: AlertChange, before: int, event_id: int, context: ChangeContext) -> None:
    site, now = context.site, context.now
    alert_id = connection.execute(select(alert_event.c.alert_id).where(alert_event.c.id == event_id)).scalar_one()
    level = change.level if change.open else 0
    name = name_level(tuple(known.name for known in site.levels) if site else (), change.ledger, level)
    # who asked to hear of a level is told when it is reached, passed or over
    passed = range(min(before, level), max(before, level) + 1)
    is_hazard = change.ledger == AlertCategory.HAZARD
    notified = [
        r
        for r in list_addressees(connection, context.recipients, now, everybody=change.key.startswith(UNCONFIRMED))
        if change.ledger in r.ledgers and not (is_hazard and not any(n in passed for n in r.levels))
    ]
    if not notified:
        return
    basis = context.decision_id if is_hazard and change.open else None
    frozen: FrozenDecision = (
        {} if basis is None else plain_to_messages(json.loads(load_decision(connection, basis).evidence))
    )
    raised = find_raised(connection, alert_id, site) if change.repeats else None
    names = list(dict.fromkeys(r.name for r in notified))
    shared: Any = {"alert_id": alert_id, "level": level, "exercise": context.exercise}
    subject, body = write_message(
        ChangeNotice(
            **shared,
            site_id=context.site_id,
            site=site,
            change=change,
            name=name,
            before=before,
            now=now,
            frozen=frozen,
            recipients=names,
            raised=raised,
        )
    )
    facts = shared | {"event_id": event_id, "site": context.site_id, "ledger": str(change.ledger), "level_name": name}
    facts |= {
        "subject": subject,
        "body": body,
        "state": "queued",
        "attempts": 0,
        "queued_at": now,
        "next_attempt_at": now,
    }
    rows: dict[str, dict[str, Any]] = {}  # somebody may be told for himself and by a team: once by each channel
    for recipient in notified:
        for channel in _pick_channels(recipient, change):
            key = hashlib.sha256(f"{event_id}\n{recipient.name}\n{channel}".encode()).hexdigest()
            rows.setdefault(key, facts | {"recipient": recipient.name, "channel": channel, "idempotency_key": key})
    if rows:
        connection.execute(insert(notification), list(rows.values()))


def find_raised(connection: Connection, alert_id: int, site: Site | None) -> LevelOnset:
    """What an alert was raised to its level on, from frozen evidence; its reason where that measured nothing."""
    a, d = alert.c, decision.c
    row = connection.execute(
        select(alert, d.at, d.evidence).outerjoin(decision, d.id == a.decision_id).where(a.id == alert_id)
    ).one()
    with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError):  # altered, perhaps
        if (found := find_headline(plain_to_messages(json.loads(row.evidence)), site, row.level)) is not None:
            return LevelOnset(row.at, found.sentence, found.short)
    return LevelOnset(row.at or row.raised_at, unwrap_reason(read_columns(row, "reason")))


def _pick_channels(recipient: Recipient, change: AlertChange) -> Iterable[str]:
    """All of them for a hazard, those that people read for anything else, and none that is said to fail itself.

    A reminder gives no siren another order.

    Who has no other channel is told by that one: it may work again. For advice nobody is called.
    """
    if change.ledger == AlertCategory.HAZARD:
        return dict.fromkeys(recipient.readable if change.repeats else recipient.channels)
    is_advice = change.ledger == AlertCategory.ADVICE
    found = dict.fromkeys(k for k in recipient.readable if not (is_advice and find_channel_traits(k).rings))
    others = [k for k in found if change.key not in {f"{FAILING}{k[:56]}", f"{UNDELIVERED}{k[:56]}"}]
    return others or found


# ---- what people do --------------------------------------------------------------------------------------------
def acknowledge(
    connection: Connection, alert_id: int, actor: Actor, reason: str, now: datetime, *, seen: int | None = None
) -> int:
    """A person has seen it; an alert whose condition is gone is closed by that. Returns the event id.

    Of an alert that is acknowledged already, another person's word is noted: the first one stays who acknowledged it.
    Who acknowledges the alarm that nobody confirmed an alert acknowledges that alert, at the level it named.

    `seen`: the level that the person saw; None = not known, whatever stands is signed.

    Raises:
        NotFoundError: no such alert.
        LevelRisenError: the level of it, or of the alert that nobody confirmed, is higher now than the level that the
            person has seen; neither is acknowledged.
        RefusedError: this person has acknowledged it, or it is closed already, or no name or reason was given.
    """
    found = _require(connection, alert_id, actor, reason)
    if seen is not None and found.level > seen:
        raise LevelRisenError(RISEN(number=alert_id, level=found.level))
    if found.key.startswith(UNCONFIRMED):
        # the alert that nobody confirmed, at the level that the alarm named; refused where it has risen since
        e, number = alert_event.c, int(found.key.removeprefix(UNCONFIRMED))
        named_at = select(func.min(e.id)).where(e.alert_id == alert_id).scalar_subquery()
        before = select(e.to_level).where(e.alert_id == number, e.id < named_at).order_by(e.id.desc()).limit(1)
        waiting = (AlertState.UNACKNOWLEDGED, AlertState.RETURNED_UNACKNOWLEDGED)
        root = connection.execute(select(alert.c.id).where(alert.c.id == number, alert.c.state.in_(waiting))).scalar()
        if root is not None:
            acknowledge(connection, root, actor, reason, now, seen=connection.execute(before).scalar())
    if found.state == AlertState.ACKNOWLEDGED and not is_same_person(found.acknowledged_by or "", actor.name):
        # another one has seen it too
        return _act(
            connection, found, step(AlertState.ACKNOWLEDGED, AlertStep.NOTE, alert_id), actor, reason, now, "alert.note"
        )
    state = step(AlertState(found.state), AlertStep.ACKNOWLEDGE, alert_id)
    signed: dict[str, Any] = {"acknowledged_at": now, "acknowledged_by": actor.name}
    closed_at = now if state is AlertState.CLOSED else None
    return _act(connection, found, state, actor, reason, now, "alert.acknowledge", closed_at=closed_at, **signed)


def add_note(connection: Connection, alert_id: int, actor: Actor, note: str, now: datetime) -> int:
    """Write into the chain of an alert what a person said of it; it stays as it is. Returns the event id."""
    found = _require(connection, alert_id, actor, note)
    state = step(AlertState(found.state), AlertStep.NOTE, alert_id)
    return _act(connection, found, state, actor, note, now, "alert.note")


def close_alert(
    connection: Connection, alert_id: int, actor: Actor, reason: str, now: datetime, *, second: Actor | None = None
) -> int:
    """Close a health or advice alert, or a hazard alert whose level is gone; returns the event id.

    `second`: another person; needed for an urgent alarm whose condition stands, since it is not told again.

    Raises:
        RefusedError: a hazard level stands (only `slopeward level set` ends it).
        NeedsSecondError: an urgent alarm stands and no second person is named.
    """
    found = _require(connection, alert_id, actor, reason)
    if found.closed_at is not None:
        raise RefusedError(_CLOSED(number=alert_id))
    if found.ledger == AlertCategory.HAZARD and found.level > 0:
        raise RefusedError(_LEVEL_STANDS(number=alert_id))
    if is_grave(found.ledger, found.level, 0) and not _are_two(actor, second):
        raise NeedsSecondError(_CLOSE_ALONE(number=alert_id))
    state = step(AlertState(found.state), AlertStep.CLOSE, alert_id)
    return _act(connection, found, state, actor, _signed(reason, second), now, "alert.close", closed_at=now)


def set_outcome(connection: Connection, alert_id: int, outcome: str, actor: Actor, note: str, now: datetime) -> None:
    """Record what it turned out to be, one of `OUTCOMES`; the newest one speaks."""
    _require(connection, alert_id, actor, note)
    add_row(connection, alert_outcome, alert_id=alert_id, **{"class": outcome, "by": actor.name}, note=note, at=now)
    add_audit(connection, actor, "alert.outcome", f"alert:{alert_id}", {"class": outcome, "note": note}, now)


def find_outcome(connection: Connection, alert_id: int) -> Outcome | None:
    """What an alert turned out to be; None where nobody said it."""
    o = alert_outcome.c
    newest = select(o["class"].label("kind"), o.at).where(o.alert_id == alert_id).order_by(o.id.desc()).limit(1)
    return find_record(connection, Outcome, newest)


def shelve(
    connection: Connection,
    alert_id: int,
    actor: Actor,
    reason: str,
    until: datetime,
    now: datetime,
    *,
    second: Actor | None = None,
    top_level: int = 3,
) -> int:
    """Quiet an alert for a time; the second highest hazard level and urgent health alarms need a second person.

    Raises:
        RefusedError: the time lies in the past or is too long, the highest level stands, or the state allows no shelf.
        NeedsSecondError: no second person for what may not be hidden by one.
    """
    found = _require(connection, alert_id, actor, reason)
    state = step(AlertState(found.state), AlertStep.SHELVE, alert_id)
    longest = longest_shelf(found.ledger, found.level, top_level)
    if longest is None:
        raise RefusedError(_TOP(number=alert_id))
    if until <= now:
        raise RefusedError(_PAST(number=alert_id))
    if until - now > longest:
        raise RefusedError(_LONG(number=alert_id, longest=Duration(longest.total_seconds())))
    if is_grave(found.ledger, found.level, top_level) and not _are_two(actor, second):
        raise NeedsSecondError(_HIDE_ALONE(number=alert_id))
    at = Timestamp.of(until)
    text = _SHELVED_WITH(reason=reason, at=at, name=second.name) if second else _SHELVED(reason=reason, at=at)
    return _act(connection, found, state, actor, text, now, "alert.shelve", until=until)


def return_alert(
    connection: Connection, alert_id: int, step_taken: AlertStep, actor: Actor, reason: str, now: datetime
) -> int:
    """Bring an alert back from the shelf before its time (`UNSHELVE`), or back in service (`PUT_BACK`).

    In service again it asks to be acknowledged again. Returns the event id.
    """
    found = _require(connection, alert_id, actor, reason)
    state = step(AlertState(found.state), step_taken, alert_id)
    action = "alert.unshelve" if step_taken is AlertStep.UNSHELVE else "alert.put_back"
    return _act(connection, found, state, actor, reason, now, action)


def take_out(
    connection: Connection, alert_id: int, actor: Actor, reason: str, now: datetime, *, second: Actor | None = None
) -> int:
    """Take a health or advice alert out of service, until a person puts it back; returns the event id.

    Raises:
        RefusedError: a hazard, or the state allows it not.
        NeedsSecondError: an urgent alarm and no second person.
    """
    found = _require(connection, alert_id, actor, reason)
    if found.ledger == AlertCategory.HAZARD:
        raise RefusedError(_NEVER_OUT(number=alert_id))
    state = step(AlertState(found.state), AlertStep.TAKE_OUT, alert_id)
    if is_grave(found.ledger, found.level, 0) and not _are_two(actor, second):
        raise NeedsSecondError(_HIDE_ALONE(number=alert_id))
    return _act(connection, found, state, actor, _signed(reason, second), now, "alert.take_out")


def follow_maintenance(connection: Connection, site_id: str, actor: Actor, now: datetime) -> list[int]:
    """Suppress what work on a station explains, and bring it back when the work is over; returns the event ids.

    Its messages wait with it; what is urgent is never suppressed.
    """
    work = {row.station: row for row in connection.execute(_plan_work(), {"of_site": site_id, "now": now})}
    followed = [str(AlertState.SUPPRESSED)]
    followed += [str(AlertState.UNACKNOWLEDGED), str(AlertState.ACKNOWLEDGED)] if work else []
    events = []
    for found in connection.execute(_plan_followed(), {"of_site": site_id, "states": followed}).all():
        station = find_cause(found.ledger, found.level, found.key, work)
        is_suppressed = found.state == AlertState.SUPPRESSED
        if (station is not None) == is_suppressed:
            continue
        event = AlertStep.RESUME if station is None else AlertStep.SUPPRESS
        state = step(AlertState(found.state), event, found.id)
        action = "alert.resume" if station is None else "alert.suppress"
        reason = _WORK_OVER()
        if station is not None:
            of = work[station]
            reason = _WORK(station=of.station, at=Timestamp.of(of.to_at), name=of.by, reason=of.reason)
        events.append(_act(connection, found, state, actor, reason, now, action))
    return events


@cache  # put together once, as that below: they are asked at every look
def _plan_work() -> Select[Any]:
    m = maintenance.c
    now: Any = bindparam("now")
    lasts = m.from_at <= now, m.to_at > now, or_(m.ended_at.is_(None), m.ended_at > now)
    return select(maintenance).where(m.site == bindparam("of_site"), *lasts).order_by(m.to_at)


@cache
def _plan_followed() -> Select[Any]:
    a = alert.c
    states: Any = bindparam("states", expanding=True)
    is_open = a.ledger == str(AlertCategory.HEALTH), a.state.in_(states), a.closed_at.is_(None)
    return select(alert).where(a.site == bindparam("of_site"), *is_open)


def is_grave(ledger: str, level: int, top_level: int) -> bool:
    """True for what no single person may hide: the two highest hazard levels and urgent alarms."""
    return level >= (max(1, top_level - 1) if ledger == AlertCategory.HAZARD else 2)


def _are_two(actor: Actor, second: Actor | None) -> bool:
    return second is not None and second.kind == "person" and not is_same_person(second.name, actor.name)


def _signed(reason: str, second: Actor | None) -> str:
    return _WITH(reason=reason, name=second.name) if second else reason


def unshelve_due(connection: Connection, site_id: str, actor: Actor, now: datetime) -> list[int]:
    """Bring back alerts whose shelf time is over; returns the event ids."""
    events = []
    for found in connection.execute(_plan_shelved(), {"of_site": site_id}).all():
        if found.until_at is None or found.until_at <= now:
            state = step(AlertState.SHELVED, AlertStep.SHELF_ENDS, found.id)
            events.append(_act(connection, found, state, actor, _SHELF_OVER(), now, "alert.unshelve"))
    return events


@cache
def _plan_shelved() -> Select[Any]:
    a, e = alert.c, alert_event.c
    # the last shelving counts; notes that came behind it have no end
    ends = select(e.until_at).where(e.alert_id == a.id, e.until_at.is_not(None)).order_by(e.sequence.desc()).limit(1)
    shelved = select(alert, ends.scalar_subquery().label("until_at"))
    return shelved.where(a.site == bindparam("of_site"), a.state == str(AlertState.SHELVED))


def _require(connection: Connection, alert_id: int, actor: Actor, reason: str) -> Row[Any]:
    # locked: a change that commits at this moment is waited for and then seen (SQLite has one writer anyway)
    found = connection.execute(select(alert).where(alert.c.id == alert_id).with_for_update()).one_or_none()
    if found is None:
        raise NotFoundError(NO_ALERT(number=alert_id))
    if not fold_name(actor.name) or not reason.strip():
        raise RefusedError(WHO_AND_WHY())
    return found


def _act(
    connection: Connection,
    found: Row[Any],
    state: AlertState,
    actor: Actor,
    reason: str,
    now: datetime,
    action: str,
    *,
    until: datetime | None = None,
    **values: Any,
) -> int:
    connection.execute(update(alert).where(alert.c.id == found.id).values(state=str(state), **values))
    was = {"from_state": found.state, "from_level": found.level, "to_level": found.level, "data_time": found.data_time}
    event = _add_event(connection, found.id, now, actor, reason, state, until_at=until, **was)
    add_audit(
        connection, actor, action, f"alert:{found.id}", {"site": found.site, "reason": reason, "event": event}, now
    )
    return event


# ---- reads -----------------------------------------------------------------------------------------------------
def load_alerts(
    connection: Connection,
    site: str | frozenset[str] | None = None,
    *,
    open_only: bool = False,
    ledger: str | None = None,
    limit: int | None = None,
    hazard_first: bool = False,
) -> list[Alert]:
    """Alerts of a site, of several, or of all, newest first; with `hazard_first` hazard, then health, then advice."""
    a = alert.c
    rank = case((a.ledger == AlertCategory.HAZARD, 0), (a.ledger == AlertCategory.HEALTH, 1), else_=2)
    wanted = select(alert).where(*match_given(a.site, site), *match_given(a.ledger, ledger))
    wanted = wanted.where(a.closed_at.is_(None)) if open_only else wanted
    wanted = wanted.order_by(*([rank] if hazard_first else []), a.raised_at.desc(), a.id.desc())
    return load_records(connection, Alert, wanted.limit(limit))


def find_alert(connection: Connection, alert_id: int) -> Alert | None:
    """One alert, or None."""
    return find_record(connection, Alert, select(alert).where(alert.c.id == alert_id))


def require_alert(connection: Connection, alert_id: int) -> Alert:
    """One alert; raises NotFoundError."""
    if (found := find_alert(connection, alert_id)) is None:
        raise NotFoundError(NO_ALERT(number=alert_id))
    return found


def load_alert_events(connection: Connection, alert_id: int) -> list[AlertEvent]:
    """The chain of an alert, oldest first."""
    e = alert_event.c
    return load_records(connection, AlertEvent, select(alert_event).where(e.alert_id == alert_id).order_by(e.sequence))


def find_alert_of_event(connection: Connection, event_id: int) -> tuple[int, int]:
    """The alert of an event and its place in the chain; raises NotFoundError."""
    e = alert_event.c
    row = connection.execute(select(e.alert_id, e.sequence).where(e.id == event_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"alert event {event_id} does not exist")
    return row.alert_id, row.sequence


def load_level_changes(
    connection: Connection, sites: frozenset[str] | None, *, limit: int, exercises: bool
) -> list[tuple[Alert, AlertEvent]]:
    """Changes of level of hazard alerts, the newest first: of all sites, or of some."""
    a, e = alert.c, alert_event.c
    changed = (a.ledger == AlertCategory.HAZARD, e.from_level.is_distinct_from(e.to_level), *match_given(a.site, sites))
    wanted = select(alert, alert_event).where(a.id == e.alert_id, *changed)
    wanted = wanted if exercises else wanted.where(a.exercise.is_(False))
    wanted = wanted.order_by(e.at.desc(), e.id.desc()).limit(limit)
    return [
        (read_record(Alert, {k.name: row[k] for k in a}), read_record(AlertEvent, {k.name: row[k] for k in e}))
        for row in connection.execute(wanted).mappings()
    ]


def load_outcomes(
    connection: Connection, sites: frozenset[str] | None, kinds: Sequence[str], *, limit: int
) -> list[tuple[Alert, Outcome]]:
    """Hazard alerts that are over and turned out to be of some kinds, by the newest statement; newest first."""
    a, o = alert.c, alert_outcome.c
    newest = select(func.max(o.id)).group_by(o.alert_id)
    wanted = (
        select(alert, o["class"].label("kind"), o.at.label("said_at"))
        .join(alert_outcome, o.alert_id == a.id)
        .where(a.ledger == AlertCategory.HAZARD, a.level == 0, *match_given(a.site, sites))
        .where(o.id.in_(newest), o["class"].in_(kinds))
        .order_by(o.at.desc(), o.id.desc())
        .limit(limit)
    )
    return [(read_record(Alert, row), Outcome(row.kind, row.said_at)) for row in connection.execute(wanted)]
