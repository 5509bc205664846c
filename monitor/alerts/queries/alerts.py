"""Write and load alerts, their events, and the messages that events cause.

`apply_changes` stores the changes of a decision: it opens, raises, lowers or clears alerts, adds an event to each, and
adds the messages to the outbox. `acknowledge` and the functions after it are the acts of people, and the steps that the
service takes without a decision, such as the end of a shelving. All of them follow `monitor.alerts.states.TRANSITIONS`.
The caller opens the transaction.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from monitor.alerts.evaluation_tables import decision
from monitor.alerts.notification import DeliveryState
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.evaluations import add_decision, load_decision
from monitor.alerts.queries.maintenance import WHO_AND_WHY
from monitor.alerts.queries.recipients import list_addressees
from monitor.alerts.records import UNCONFIRMED, AlertState
from monitor.alerts.states import (
    AlertStep,
    find_longest_shelf,
    find_next_state,
    find_station_at_work,
    may_be_suppressed,
)
from monitor.alerts.tables import alert, alert_event, alert_outcome
from monitor.decision.alert_texts import ChangeNotice, LevelOnset, name_level, unwrap_reason, write_message
from monitor.decision.changes import AlertCategory, AlertChange, health_alarm
from monitor.decision.headline import FrozenDecision, find_headline
from monitor.errors import LevelRisenError, NeedsSecondError, NotFoundError, RefusedError
from monitor.sites.channels import find_channel_traits
from monitor.sites.records import Recipient, Site
from monitor.sites.tables import maintenance
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.audit import add_audit
from monitor.storage.rows import add_row, fill_row, find_record, load_records, match_given, row_to_record
from monitor.text.message import Duration, Template, Timestamp, message_columns, plain_to_messages, read_columns
from monitor.text.names import fold_name, is_same_person

# Prefixes of the keys of alarms about a channel: it fails its tests, or it does not accept messages.
FAILING: Final = "health:channel:"
UNDELIVERED: Final = "health:undelivered:"
# A key contains at most this many characters of the name of a channel.
_KEY_CHANNEL_LENGTH: Final = 56
_CAME_AND_WENT: Final = Template("delivery.came_and_went", "the alert came and went while it was put aside")
RISEN: Final = Template("alert.risen", "alert {number} has risen to level {level} since you saw it; check it again")
_CLOSED: Final = Template("alert.closed_already", "alert {number} is closed already")
_LEVEL_STANDS: Final = Template(
    "alert.level_stands", "alert {number}: the hazard level is still in force; lower the level first"
)
_CLOSE_ALONE: Final = Template(
    "alert.close_alone", "alert {number}: its condition continues, so one person may not close it; name a second person"
)
_HIDE_ALONE: Final = Template("alert.hide_alone", "alert {number}: one person may not hide it; name a second person")
_TOP: Final = Template("alert.top_on_no_shelf", "alert {number} has the highest level, so it cannot be shelved")
_PAST: Final = Template("alert.shelf_in_past", "alert {number} cannot be shelved: the end is in the past")
_LONG: Final = Template(
    "alert.shelf_long", "alert {number} can be shelved for {longest} at most; shelve it again after that"
)
_NEVER_OUT: Final = Template("alert.never_out", "alert {number} is a hazard, so it cannot be taken out of service")
_SHELVED: Final = Template("alert.shelved", "{reason} (until {at})")
_SHELVED_WITH: Final = Template("alert.shelved_with", "{reason} (until {at}, with {name})")
_WITH: Final = Template("alert.with", "{reason} (with {name})")
_SHELF_OVER: Final = Template("alert.shelf_over", "the time on the shelf is over")
_WORK: Final = Template("alert.work", "work on {station} until {at}, by {name}: {reason}")
_WORK_OVER: Final = Template("alert.work_over", "the work on its station is over")
_RAISED_IN_SHADOW: Final = Template(
    "alert.raised_in_shadow",
    "Raised at {at}. Until now this site was in shadow mode and notified only the people of the trial",
)
_TRIAL_OVER: Final = Template("alert.trial_over", "shadow mode is over; all recipients are notified of the alert")
UNKNOWN_ALERT: Final = Template("alert.unknown", "there is no alert {n}")
NO_ALERT: Final = Template("alert.none_listed", "alert {number} does not exist; see `slopeward alerts list`")
OUTCOMES: Final = ("true", "false_instrument", "false_weather", "false_work", "drill", "unknown")


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert in its current state."""

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
    """One step of an alert.

    Attributes:
        via: How a person acted, such as "page"; None for the service.
        until_at: For a shelving, when the alert returns.
        shadow: Whether the site was in shadow mode, so that only the people of the trial were notified.
    """

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
    via: str | None = None
    until_at: datetime | None = None
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The latest outcome of an alert recorded by an operator; `kind` is one of `OUTCOMES`."""

    kind: str
    at: datetime


# ---- changes ordered by decisions ------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ChangeContext:
    """What all changes of one decision have in common.

    Attributes:
        site_id: The site, or `status` for the service itself.
        site: The site file, for level names and actions; None for `status`.
        recipients: The people who may be notified. For a team, the people on duty are.
        rule_version: Version of the code and of the site file.
        decision_id: The frozen inputs. None stores the evidence of each change as a decision.
        exercise: Whether the changes belong to a drill.
    """

    site_id: str
    site: Site | None
    recipients: Sequence[Recipient]
    actor: Actor
    now: datetime
    rule_version: str
    decision_id: int | None = None
    exercise: bool = False

    @property
    def is_shadow(self) -> bool:
        """Whether the site is in shadow mode."""
        return self.site is not None and self.site.shadow


def apply_changes(connection: Connection, changes: Sequence[AlertChange], context: ChangeContext) -> list[int]:
    """Store alert, event and messages of each change. Call this in the transaction of the decision.

    A change that changes nothing is not stored. An alert that is opened or raised must be acknowledged again. When its
    condition ends, an acknowledged alert is closed. An unacknowledged alert stays open until a person acknowledges it.

    Returns:
        Ids of the events that were added, in the order of the changes.
    """
    event_ids = []
    for change in changes:
        event_id = _apply_change(connection, change, context)
        if event_id is not None:
            event_ids.append(event_id)
    if any(change.open and may_be_suppressed(change.ledger, change.level, change.key) for change in changes):
        follow_maintenance(connection, context.site_id, SERVICE_ACTOR, context.now)
    return event_ids


def notify_site(
    connection: Connection, site: Site, changes: Sequence[AlertChange], now: datetime, rule_version: str
) -> None:
    """Apply changes that the service itself detected at a site, and notify the recipients of the site."""
    apply_changes(connection, changes, ChangeContext(site.id, site, site.recipients, SERVICE_ACTOR, now, rule_version))


def _apply_change(connection: Connection, change: AlertChange, context: ChangeContext) -> int | None:
    """Store one change. Return the id of its event, or None if the change changes nothing."""
    a = alert.c
    is_open = (a.site == context.site_id, a.ledger == change.ledger, a.key == change.key, a.closed_at.is_(None))
    # The lock waits for the transaction of a person who acts on this alert at the same moment.
    row = connection.execute(select(alert).where(*is_open).with_for_update()).one_or_none()
    if not _is_effective(row, change):
        return None
    if context.decision_id is None:
        version = context.site.version if context.site else ""
        decision_id = add_decision(connection, context.site_id, context.now, version, change.evidence)
        context = replace(context, decision_id=decision_id)
    if row is None:
        alert_id, event_id = _open_alert(connection, change, context)
        level_before = 0
    else:
        alert_id, event_id = row.id, _update_alert(connection, row, change, context)
        level_before = int(row.level)
    if row is not None and not change.open and row.state in (AlertState.SUPPRESSED, AlertState.OUT_OF_SERVICE):
        _drop_waiting_messages(connection, alert_id)
    elif change.notify and (change.open or change.ledger == AlertCategory.HAZARD or _was_notified(connection, row)):
        _add_messages(connection, change, alert_id, event_id, level_before, context)
    return event_id


def _is_effective(row: Row[Any] | None, change: AlertChange) -> bool:
    """Return whether a change opens an alert, changes the open one, or repeats its level."""
    if change.repeats:
        return row is not None and bool(row.level == change.level)
    if row is None:
        return change.open
    has_ended = row.state == AlertState.RETURNED_UNACKNOWLEDGED
    if change.open:
        return bool(has_ended or row.level != change.level)
    return not has_ended


def _was_notified(connection: Connection, row: Row[Any] | None) -> bool:
    """Return whether anybody was notified of the alert. Its end is only sent to people who know of it."""
    if row is None:
        return False
    query = select(notification.c.id).where(notification.c.alert_id == row.id).limit(1)
    return connection.execute(query).first() is not None


def _drop_waiting_messages(connection: Connection, alert_id: int) -> None:
    """Mark the messages that wait to be sent as superseded, because the alert came and went while it was put aside."""
    n = notification.c
    is_waiting = n.state.in_((str(DeliveryState.QUEUED), str(DeliveryState.FAILED_RETRY)))
    connection.execute(
        update(notification)
        .where(n.alert_id == alert_id, is_waiting)
        .values(
            state=str(DeliveryState.SUPERSEDED),
            # No other message contains these messages.
            superseded_by=n.id,
            next_attempt_at=None,
            **message_columns("last_error", _CAME_AND_WENT()),
        )
    )


def _open_alert(connection: Connection, change: AlertChange, context: ChangeContext) -> tuple[int, int]:
    """Store a new alert and its first event, and return the ids of both."""
    row = fill_row(
        alert,
        change,
        site=context.site_id,
        ledger=str(change.ledger),
        peak_level=change.level,
        data_time=change.data_time,
        decision_id=context.decision_id,
        state=str(AlertState.UNACKNOWLEDGED),
        exercise=context.exercise,
        raised_at=context.now,
        rule_version=context.rule_version,
    )
    alert_id = add_row(connection, alert, row)
    event_id = _add_event(
        connection,
        alert_id,
        context.now,
        context.actor,
        change.reason,
        find_next_state(None, AlertStep.RAISE, alert_id),
        to_level=change.level,
        data_time=change.data_time,
        decision_id=context.decision_id,
        shadow=context.is_shadow,
    )
    return alert_id, event_id


def _update_alert(connection: Connection, row: Row[Any], change: AlertChange, context: ChangeContext) -> int:
    """Store a change of an open alert, and return the id of its event."""
    state_before = AlertState(row.state)
    level = change.level if change.open else 0
    step = _find_step(state_before, int(row.level), change)
    state = find_next_state(state_before, step, row.id)
    values: dict[str, Any] = {}
    if not change.repeats:
        values |= {"level": level, "decision_id": context.decision_id, **message_columns("reason", change.reason)}
        if change.open:
            values["peak_level"] = max(level, row.peak_level)
            values["data_time"] = change.data_time
            values["rule_version"] = context.rule_version
        if step in {AlertStep.RAISE, AlertStep.WORSEN}:
            values |= {"acknowledged_at": None, "acknowledged_by": None}
    if state is AlertState.CLOSED:
        values["closed_at"] = context.now
    connection.execute(update(alert).where(alert.c.id == row.id).values(state=str(state), **values))
    return _add_event(
        connection,
        row.id,
        context.now,
        context.actor,
        change.reason,
        state,
        from_state=row.state,
        from_level=row.level,
        to_level=level,
        data_time=change.data_time,
        decision_id=context.decision_id,
        shadow=context.is_shadow,
    )


def _find_step(state: AlertState, level: int, change: AlertChange) -> AlertStep:
    """Return the step that a change takes with an open alert of this state and level."""
    if change.repeats:
        return AlertStep.CHANGE
    if not change.open:
        # After somebody confirmed the alert that this alarm is about, there is nothing left to acknowledge.
        return AlertStep.ANSWER if change.key.startswith(UNCONFIRMED) else AlertStep.CLEAR
    if state is AlertState.RETURNED_UNACKNOWLEDGED:
        return AlertStep.RAISE
    return AlertStep.WORSEN if change.level > level else AlertStep.CHANGE


def _add_event(
    connection: Connection,
    alert_id: int,
    now: datetime,
    actor: Actor,
    reason: str,
    state: AlertState,
    *,
    shadow: bool | None = None,
    **columns: Any,
) -> int:
    """Store an event and return its id.

    Args:
        shadow: Whether the site is in shadow mode. None for an act on the alert, which leaves open alerts as they are:
            the value of the event before.
    """
    e = alert_event.c
    last = connection.execute(
        select(e.sequence, e.shadow).where(e.alert_id == alert_id).order_by(e.sequence.desc()).limit(1)
    ).one_or_none()
    if shadow is None:
        shadow = last is not None and last.shadow
    return add_row(
        connection,
        alert_event,
        columns,
        shadow=shadow,
        alert_id=alert_id,
        sequence=1 if last is None else last.sequence + 1,
        at=now,
        to_state=str(state),
        actor=actor.name,
        actor_kind=actor.kind,
        via=actor.via,
        reason=reason,
    )


def _add_messages(
    connection: Connection,
    change: AlertChange,
    alert_id: int,
    event_id: int,
    level_before: int,
    context: ChangeContext,
) -> None:
    """Add a message to the outbox for each recipient and channel."""
    site, now = context.site, context.now
    is_hazard = change.ledger == AlertCategory.HAZARD
    level = change.level if change.open else 0
    level_names = () if site is None else tuple(site_level.name for site_level in site.levels)
    level_name = name_level(level_names, change.ledger, level)
    # A recipient is notified of a change if one of its levels is the level before, the level after or one between.
    passed_levels = range(min(level_before, level), max(level_before, level) + 1)
    to_everybody = change.key.startswith(UNCONFIRMED)
    recipients = []
    for recipient in list_addressees(connection, context.recipients, now, everybody=to_everybody):
        wants_level = not is_hazard or any(number in passed_levels for number in recipient.levels)
        if change.ledger in recipient.ledgers and wants_level:
            recipients.append(recipient)
    if not recipients:
        return
    frozen: FrozenDecision = {}
    if is_hazard and change.open and context.decision_id is not None:
        frozen = plain_to_messages(json.loads(load_decision(connection, context.decision_id).evidence))
    subject, body = write_message(
        ChangeNotice(
            alert_id=alert_id,
            level=level,
            exercise=context.exercise,
            site_id=context.site_id,
            site=site,
            change=change,
            name=level_name,
            before=level_before,
            now=now,
            frozen=frozen,
            recipients=list(dict.fromkeys(recipient.name for recipient in recipients)),
            raised=find_level_onset(connection, alert_id, site) if change.repeats else None,
        )
    )
    values = {
        "alert_id": alert_id,
        "event_id": event_id,
        "site": context.site_id,
        "ledger": str(change.ledger),
        "level": level,
        "level_name": level_name,
        "exercise": context.exercise,
        "subject": subject,
        "body": body,
        "state": str(DeliveryState.QUEUED),
        "attempts": 0,
        "queued_at": now,
        "next_attempt_at": now,
    }
    # A person may be a recipient by name and as a member of a team. Each channel still gets one message.
    rows: dict[str, dict[str, Any]] = {}
    for recipient in recipients:
        for channel in _pick_channels(recipient, change):
            key = hashlib.sha256(f"{event_id}\n{recipient.name}\n{channel}".encode()).hexdigest()
            rows.setdefault(key, values | {"recipient": recipient.name, "channel": channel, "idempotency_key": key})
    if rows:
        connection.execute(insert(notification), list(rows.values()))


def find_level_onset(connection: Connection, alert_id: int, site: Site | None) -> LevelOnset:
    """Return when and why an alert got its level: from the evidence of that decision, or else from its own reason."""
    a, d = alert.c, decision.c
    row = connection.execute(
        select(alert, d.at, d.evidence).outerjoin(decision, d.id == a.decision_id).where(a.id == alert_id)
    ).one()
    # Evidence that was altered may not be readable.
    with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError):
        headline = find_headline(plain_to_messages(json.loads(row.evidence)), site, row.level)
        if headline is not None:
            return LevelOnset(row.at, headline.sentence, headline.short)
    return LevelOnset(row.at or row.raised_at, unwrap_reason(read_columns(row, "reason")))


def _pick_channels(recipient: Recipient, change: AlertChange) -> Iterable[str]:
    """Return the channels of a recipient for a change.

    * A hazard uses all channels; a reminder of it leaves out sirens.
    * Other alerts use the channels that people read; advice leaves out phone calls.
    * An alarm about a channel leaves out this channel, unless the recipient has no other. It may work again.
    """
    if change.ledger == AlertCategory.HAZARD:
        return dict.fromkeys(recipient.readable if change.repeats else recipient.channels)
    is_advice = change.ledger == AlertCategory.ADVICE
    channels = list(dict.fromkeys(recipient.readable))
    if is_advice:
        channels = [channel for channel in channels if not find_channel_traits(channel).rings]
    working = []
    for channel in channels:
        name = channel[:_KEY_CHANNEL_LENGTH]
        if change.key not in {f"{FAILING}{name}", f"{UNDELIVERED}{name}"}:
            working.append(channel)
    return working or channels


# ---- end of shadow mode ----------------------------------------------------------------------------------------
def load_sites_with_shadow_alerts(connection: Connection) -> set[str]:
    """Return the sites with open alerts of which only the people of a trial were notified."""
    return set(connection.execute(select(alert.c.site).where(*_is_shadow_alert()).distinct()).scalars())


def _is_shadow_alert() -> tuple[ColumnElement[bool], ...]:
    """Return the SQL conditions of an open alert whose condition lasts and whose newest event was in shadow mode."""
    a, e = alert.c, alert_event.c
    newest = select(e.shadow).where(e.alert_id == a.id).order_by(e.sequence.desc()).limit(1).scalar_subquery()
    is_open = (a.closed_at.is_(None), a.exercise.is_(False), a.state != str(AlertState.RETURNED_UNACKNOWLEDGED))
    return (*is_open, newest.is_(True))


def deliver_after_shadow(connection: Connection, site: Site, now: datetime) -> int:
    """Notify the recipients of a site that has left shadow mode of the alerts that are still open.

    Each alert gets an event, and its messages go to the recipients as if it were raised now. A hazard must be
    acknowledged again, because those who acknowledged it before took part in a trial. Other alerts keep their state. An
    alarm that nobody confirmed another alert is closed, because the time for a confirmation starts again.

    Returns:
        The number of alerts that people are notified of.
    """
    delivered = 0
    rows = connection.execute(
        select(alert).where(alert.c.site == site.id, *_is_shadow_alert()).order_by(alert.c.id).with_for_update()
    ).all()
    for row in rows:
        context = ChangeContext(site.id, site, site.recipients, SERVICE_ACTOR, now, row.rule_version, row.decision_id)
        if row.key.startswith(UNCONFIRMED):
            _apply_change(connection, health_alarm(row.key, 0, _TRIAL_OVER(), is_open=False, notify=False), context)
            continue
        reason = read_columns(row, "reason")
        step = AlertStep.WORSEN if row.ledger == AlertCategory.HAZARD else AlertStep.CHANGE
        state = find_next_state(AlertState(row.state), step, row.id)
        values: dict[str, Any] = {"state": str(state)}
        if step is AlertStep.WORSEN:
            values |= {"acknowledged_at": None, "acknowledged_by": None}
        connection.execute(update(alert).where(alert.c.id == row.id).values(values))
        event_id = _add_event(
            connection,
            row.id,
            now,
            SERVICE_ACTOR,
            reason,
            state,
            # Without a level before, because nobody outside the trial knows of one.
            from_level=None,
            from_state=row.state,
            to_level=row.level,
            data_time=row.data_time,
            decision_id=row.decision_id,
            shadow=False,
        )
        change = AlertChange(
            ledger=AlertCategory(row.ledger),
            key=row.key,
            level=row.level,
            open=True,
            reason=reason,
            data_time=row.data_time,
            evidence="{}",
            lines=(_RAISED_IN_SHADOW(at=Timestamp.of(row.raised_at, "minute")),),
        )
        _add_messages(connection, change, row.id, event_id, 0, context)
        delivered += 1
    return delivered


# ---- acts of people --------------------------------------------------------------------------------------------
def acknowledge(
    connection: Connection, alert_id: int, actor: Actor, reason: str, now: datetime, *, seen: int | None = None
) -> int:
    """Acknowledge an alert for a person. An alert whose condition has ended is closed.

    If another person has acknowledged it already, a note is added, and the first person remains the one who
    acknowledged. Acknowledging the alarm that nobody confirmed an alert also acknowledges that alert, at the level that
    the alarm named.

    Args:
        seen: The level that the person saw. None acknowledges any level.

    Returns:
        Id of the event.

    Raises:
        NotFoundError: The alert does not exist.
        LevelRisenError: The level of the alert, or of the alert that nobody confirmed, is now higher than the person
            saw. Nothing is acknowledged.
        RefusedError: This person has acknowledged the alert, it is closed, or name or reason are missing.
    """
    row = _lock_alert(connection, alert_id, actor, reason)
    if seen is not None and row.level > seen:
        raise LevelRisenError(RISEN(number=alert_id, level=row.level))
    if row.key.startswith(UNCONFIRMED):
        _acknowledge_unconfirmed(connection, row, actor, reason, now)
    state = AlertState(row.state)
    if state is AlertState.ACKNOWLEDGED and not is_same_person(row.acknowledged_by or "", actor.name):
        next_state = find_next_state(state, AlertStep.NOTE, alert_id)
        return _store_act(connection, row, next_state, actor, reason, now, "alert.note")
    next_state = find_next_state(state, AlertStep.ACKNOWLEDGE, alert_id)
    values: dict[str, Any] = {"acknowledged_at": now, "acknowledged_by": actor.name}
    values["closed_at"] = now if next_state is AlertState.CLOSED else None
    return _store_act(connection, row, next_state, actor, reason, now, "alert.acknowledge", **values)


def _acknowledge_unconfirmed(connection: Connection, row: Row[Any], actor: Actor, reason: str, now: datetime) -> None:
    """Acknowledge the alert that nobody confirmed, unless it has risen above the level that the alarm `row` named."""
    alert_id = int(row.key.removeprefix(UNCONFIRMED))
    unacknowledged = (AlertState.UNACKNOWLEDGED, AlertState.RETURNED_UNACKNOWLEDGED)
    query = select(alert.c.id).where(alert.c.id == alert_id, alert.c.state.in_(unacknowledged))
    if connection.execute(query).first() is None:
        return
    e = alert_event.c
    first_event_of_alarm = select(func.min(e.id)).where(e.alert_id == row.id).scalar_subquery()
    levels_before_alarm = select(e.to_level).where(e.alert_id == alert_id, e.id < first_event_of_alarm)
    named_level = connection.execute(levels_before_alarm.order_by(e.id.desc()).limit(1)).scalar()
    acknowledge(connection, alert_id, actor, reason, now, seen=named_level)


def add_note(connection: Connection, alert_id: int, actor: Actor, note: str, now: datetime) -> int:
    """Add a note of a person to an alert without changing its state. Return the id of the event."""
    row = _lock_alert(connection, alert_id, actor, note)
    state = find_next_state(AlertState(row.state), AlertStep.NOTE, alert_id)
    return _store_act(connection, row, state, actor, note, now, "alert.note")


def close_alert(
    connection: Connection, alert_id: int, actor: Actor, reason: str, now: datetime, *, second: Actor | None = None
) -> int:
    """Close a health or advice alert, or a hazard alert whose level is over. Return the id of the event.

    Args:
        second: Another person. Needed for an urgent alarm whose condition continues, because it is not sent again.

    Raises:
        RefusedError: The hazard level is not over. Only `slopeward level set` ends it.
        NeedsSecondError: The alarm is urgent, its condition continues, and no second person is named.
    """
    row = _lock_alert(connection, alert_id, actor, reason)
    if row.closed_at is not None:
        raise RefusedError(_CLOSED(number=alert_id))
    if row.ledger == AlertCategory.HAZARD and row.level > 0:
        raise RefusedError(_LEVEL_STANDS(number=alert_id))
    if is_grave(row.ledger, row.level, 0) and not _are_two_people(actor, second):
        raise NeedsSecondError(_CLOSE_ALONE(number=alert_id))
    state = find_next_state(AlertState(row.state), AlertStep.CLOSE, alert_id)
    return _store_act(
        connection, row, state, actor, _add_second_name(reason, second), now, "alert.close", closed_at=now
    )


def set_outcome(connection: Connection, alert_id: int, outcome: str, actor: Actor, note: str, now: datetime) -> None:
    """Record the outcome of an alert, one of `OUTCOMES`. The newest outcome counts."""
    _lock_alert(connection, alert_id, actor, note)
    add_row(connection, alert_outcome, alert_id=alert_id, **{"class": outcome, "by": actor.name}, note=note, at=now)
    add_audit(connection, actor, "alert.outcome", f"alert:{alert_id}", {"class": outcome, "note": note}, now)


def find_outcome(connection: Connection, alert_id: int) -> Outcome | None:
    """Return the latest outcome of an alert; None if nobody recorded one."""
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
    """Shelve an alert for a time. Return the id of the event.

    The second highest hazard level and urgent health alarms need a second person.

    Raises:
        RefusedError: `until` is in the past or too late, the level is the highest, or the state does not allow it.
        NeedsSecondError: A second person is needed.
    """
    row = _lock_alert(connection, alert_id, actor, reason)
    state = find_next_state(AlertState(row.state), AlertStep.SHELVE, alert_id)
    longest = find_longest_shelf(row.ledger, row.level, top_level)
    if longest is None:
        raise RefusedError(_TOP(number=alert_id))
    if until <= now:
        raise RefusedError(_PAST(number=alert_id))
    if until - now > longest:
        raise RefusedError(_LONG(number=alert_id, longest=Duration(longest.total_seconds())))
    if is_grave(row.ledger, row.level, top_level) and not _are_two_people(actor, second):
        raise NeedsSecondError(_HIDE_ALONE(number=alert_id))
    at = Timestamp.of(until)
    text = _SHELVED_WITH(reason=reason, at=at, name=second.name) if second else _SHELVED(reason=reason, at=at)
    return _store_act(connection, row, state, actor, text, now, "alert.shelve", until=until)


def return_alert(
    connection: Connection, alert_id: int, step_taken: AlertStep, actor: Actor, reason: str, now: datetime
) -> int:
    """Unshelve an alert before its time (`UNSHELVE`), or put it back in service (`PUT_BACK`).

    The alert must be acknowledged again. Return the id of the event.
    """
    row = _lock_alert(connection, alert_id, actor, reason)
    state = find_next_state(AlertState(row.state), step_taken, alert_id)
    action = "alert.unshelve" if step_taken is AlertStep.UNSHELVE else "alert.put_back"
    return _store_act(connection, row, state, actor, reason, now, action)


def take_out(
    connection: Connection, alert_id: int, actor: Actor, reason: str, now: datetime, *, second: Actor | None = None
) -> int:
    """Take a health or advice alert out of service until a person puts it back. Return the id of the event.

    Raises:
        RefusedError: The alert is a hazard, or its state does not allow it.
        NeedsSecondError: The alarm is urgent, and no second person is named.
    """
    row = _lock_alert(connection, alert_id, actor, reason)
    if row.ledger == AlertCategory.HAZARD:
        raise RefusedError(_NEVER_OUT(number=alert_id))
    state = find_next_state(AlertState(row.state), AlertStep.TAKE_OUT, alert_id)
    if is_grave(row.ledger, row.level, 0) and not _are_two_people(actor, second):
        raise NeedsSecondError(_HIDE_ALONE(number=alert_id))
    return _store_act(connection, row, state, actor, _add_second_name(reason, second), now, "alert.take_out")


def follow_maintenance(connection: Connection, site_id: str, actor: Actor, now: datetime) -> list[int]:
    """Suppress alerts that maintenance explains, and resume them after the maintenance. Return the ids of the events.

    The messages of a suppressed alert are held back. Urgent alerts are never suppressed.
    """
    work = {row.station: row for row in connection.execute(_query_maintenance(), {"of_site": site_id, "now": now})}
    states = [str(AlertState.SUPPRESSED)]
    if work:
        states += [str(AlertState.UNACKNOWLEDGED), str(AlertState.ACKNOWLEDGED)]
    events = []
    for row in connection.execute(_query_health_alerts(), {"of_site": site_id, "states": states}).all():
        station = find_station_at_work(row.ledger, row.level, row.key, work)
        is_suppressed = row.state == AlertState.SUPPRESSED
        if (station is not None) == is_suppressed:
            continue
        step = AlertStep.RESUME if station is None else AlertStep.SUPPRESS
        state = find_next_state(AlertState(row.state), step, row.id)
        action = "alert.resume" if station is None else "alert.suppress"
        reason = _WORK_OVER()
        if station is not None:
            window = work[station]
            until = Timestamp.of(window.to_at)
            reason = _WORK(station=window.station, at=until, name=window.by, reason=window.reason)
        events.append(_store_act(connection, row, state, actor, reason, now, action))
    return events


# Each evaluation runs these queries, so they are built once.
@cache
def _query_maintenance() -> Select[Any]:
    m = maintenance.c
    now: Any = bindparam("now")
    lasts = m.from_at <= now, m.to_at > now, or_(m.ended_at.is_(None), m.ended_at > now)
    return select(maintenance).where(m.site == bindparam("of_site"), *lasts).order_by(m.to_at)


@cache
def _query_health_alerts() -> Select[Any]:
    a = alert.c
    states: Any = bindparam("states", expanding=True)
    is_open = a.ledger == str(AlertCategory.HEALTH), a.state.in_(states), a.closed_at.is_(None)
    return select(alert).where(a.site == bindparam("of_site"), *is_open)


def is_grave(ledger: str, level: int, top_level: int) -> bool:
    """Return whether two people are needed to put an alert aside: the two highest hazard levels, and urgent alarms."""
    return level >= (max(1, top_level - 1) if ledger == AlertCategory.HAZARD else 2)


def _are_two_people(actor: Actor, second: Actor | None) -> bool:
    return second is not None and second.kind == "person" and not is_same_person(second.name, actor.name)


def _add_second_name(reason: str, second: Actor | None) -> str:
    return _WITH(reason=reason, name=second.name) if second else reason


def unshelve_due(connection: Connection, site_id: str, actor: Actor, now: datetime) -> list[int]:
    """Unshelve the alerts whose time on the shelf is over. Return the ids of the events."""
    events = []
    for row in connection.execute(_query_shelved_alerts(), {"of_site": site_id}).all():
        if row.until_at is None or row.until_at <= now:
            state = find_next_state(AlertState.SHELVED, AlertStep.SHELF_ENDS, row.id)
            events.append(_store_act(connection, row, state, actor, _SHELF_OVER(), now, "alert.unshelve"))
    return events


@cache
def _query_shelved_alerts() -> Select[Any]:
    a, e = alert.c, alert_event.c
    # Notes after the last shelving have no end, so only events with an end are considered.
    ends = select(e.until_at).where(e.alert_id == a.id, e.until_at.is_not(None)).order_by(e.sequence.desc()).limit(1)
    shelved = select(alert, ends.scalar_subquery().label("until_at"))
    return shelved.where(a.site == bindparam("of_site"), a.state == str(AlertState.SHELVED))


def _lock_alert(connection: Connection, alert_id: int, actor: Actor, reason: str) -> Row[Any]:
    """Return an alert, locked for an act on it.

    Raises:
        NotFoundError: The alert does not exist.
        RefusedError: The name of the person or the reason is missing.
    """
    # The lock waits for a change that commits at this moment. SQLite has one writer anyway.
    row = connection.execute(select(alert).where(alert.c.id == alert_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFoundError(NO_ALERT(number=alert_id))
    if not fold_name(actor.name) or not reason.strip():
        raise RefusedError(WHO_AND_WHY())
    return row


def _store_act(
    connection: Connection,
    row: Row[Any],
    state: AlertState,
    actor: Actor,
    reason: str,
    now: datetime,
    action: str,
    *,
    until: datetime | None = None,
    **values: Any,
) -> int:
    """Store the state of an alert after an act, its event and an entry of the audit log. Return the id of the event.

    Args:
        action: Name of the act in the audit log.
        until: For a shelving, when the alert returns.
        values: Further columns of the alert.
    """
    connection.execute(update(alert).where(alert.c.id == row.id).values(state=str(state), **values))
    columns = {"from_state": row.state, "from_level": row.level, "to_level": row.level, "data_time": row.data_time}
    event_id = _add_event(connection, row.id, now, actor, reason, state, until_at=until, **columns)
    add_audit(
        connection, actor, action, f"alert:{row.id}", {"site": row.site, "reason": reason, "event": event_id}, now
    )
    return event_id


# ---- loading ---------------------------------------------------------------------------------------------------
def load_alerts(
    connection: Connection,
    site: str | frozenset[str] | None = None,
    *,
    open_only: bool = False,
    ledger: str | None = None,
    after: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    hazard_first: bool = False,
) -> list[Alert]:
    """Return alerts of one site, several sites or all sites, the newest first.

    Args:
        after: Only alerts that were raised after this instant.
        until: Only alerts that were raised up to this instant.
        hazard_first: Whether to sort by category first: hazard, health, advice.
    """
    a = alert.c
    rank = case((a.ledger == AlertCategory.HAZARD, 0), (a.ledger == AlertCategory.HEALTH, 1), else_=2)
    query = select(alert).where(*match_given(a.site, site), *match_given(a.ledger, ledger))
    query = query.where(a.closed_at.is_(None)) if open_only else query
    query = query if after is None else query.where(a.raised_at > after)
    query = query if until is None else query.where(a.raised_at <= until)
    query = query.order_by(*([rank] if hazard_first else []), a.raised_at.desc(), a.id.desc())
    return load_records(connection, Alert, query.limit(limit))


def find_alert(connection: Connection, alert_id: int) -> Alert | None:
    """Return an alert, or None if it does not exist."""
    return find_record(connection, Alert, select(alert).where(alert.c.id == alert_id))


def require_alert(connection: Connection, alert_id: int) -> Alert:
    """Return an alert.

    Raises:
        NotFoundError: The alert does not exist.
    """
    row = find_alert(connection, alert_id)
    if row is None:
        raise NotFoundError(NO_ALERT(number=alert_id))
    return row


def load_alert_events(connection: Connection, alert_id: int) -> list[AlertEvent]:
    """Return all events of an alert, the oldest first."""
    e = alert_event.c
    return load_records(connection, AlertEvent, select(alert_event).where(e.alert_id == alert_id).order_by(e.sequence))


def find_alert_of_event(connection: Connection, event_id: int) -> tuple[int, int]:
    """Return the alert of an event, and the sequence number of the event.

    Raises:
        NotFoundError: The event does not exist.
    """
    e = alert_event.c
    row = connection.execute(select(e.alert_id, e.sequence).where(e.id == event_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"alert event {event_id} does not exist")
    return row.alert_id, row.sequence


def load_level_changes(
    connection: Connection, sites: frozenset[str] | None, *, limit: int, exercises: bool
) -> list[tuple[Alert, AlertEvent]]:
    """Return the level changes of hazard alerts outside of shadow mode, the newest first.

    Args:
        sites: The sites; None for all.
        exercises: Whether to include drills.
    """
    a, e = alert.c, alert_event.c
    changed = (a.ledger == AlertCategory.HAZARD, e.from_level.is_distinct_from(e.to_level), *match_given(a.site, sites))
    query = select(alert, alert_event).where(a.id == e.alert_id, e.shadow.is_(False), *changed)
    query = query if exercises else query.where(a.exercise.is_(False))
    query = query.order_by(e.at.desc(), e.id.desc()).limit(limit)
    return [
        (row_to_record(Alert, {k.name: row[k] for k in a}), row_to_record(AlertEvent, {k.name: row[k] for k in e}))
        for row in connection.execute(query).mappings()
    ]


def load_outcomes(
    connection: Connection, sites: frozenset[str] | None, kinds: Sequence[str], *, limit: int, exercises: bool
) -> list[tuple[Alert, Outcome]]:
    """Return hazard alerts that are over and whose latest outcome is one of `kinds`, the newest outcome first.

    Alerts of which only the people of a trial were notified (shadow mode) are left out.

    Args:
        sites: The sites; None for all.
        exercises: Whether to include drills.
    """
    a, o, e = alert.c, alert_outcome.c, alert_event.c
    was_public = exists().where(e.alert_id == a.id, e.shadow.is_(False))
    newest = select(func.max(o.id)).group_by(o.alert_id)
    query = (
        select(alert, o["class"].label("kind"), o.at.label("recorded_at"))
        .join(alert_outcome, o.alert_id == a.id)
        .where(a.ledger == AlertCategory.HAZARD, a.level == 0, *match_given(a.site, sites))
        .where(o.id.in_(newest), o["class"].in_(kinds), was_public)
    )
    query = query if exercises else query.where(a.exercise.is_(False))
    query = query.order_by(o.at.desc(), o.id.desc()).limit(limit)
    return [(row_to_record(Alert, row), Outcome(row.kind, row.recorded_at)) for row in connection.execute(query)]
