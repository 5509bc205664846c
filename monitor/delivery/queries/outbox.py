"""The outbox: notification rows, who holds a lease on them, and what became of each.

States move only along `TRANSITIONS`, each move is one conditional UPDATE, and a mover goes on only if one row changed.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Subquery,
    and_,
    case,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)

from monitor.alerts.notification import DeliveryState, Notification
from monitor.alerts.outbox_tables import notification
from monitor.alerts.records import UNCONFIRMED, URGENT_HEALTH, AlertState, is_urgent
from monitor.alerts.states import PUT_ASIDE
from monitor.alerts.tables import alert, alert_event
from monitor.canonical import digest_text
from monitor.decision.alert_texts import DRILL, describe_delay, join_lines, list_covered, split_lines, unwrap
from monitor.decision.causes import describe_cause, find_severity, group_by_cause, split_numbers
from monitor.decision.changes import AlertCategory
from monitor.decision.subjects import mark_delayed, mark_exercise, replace_essence
from monitor.delivery.tables import digest
from monitor.logs import redact
from monitor.sites.channels import find_channel_traits, list_ordering_prefixes
from monitor.sites.tables import site
from monitor.storage.engine import insert
from monitor.storage.rows import columns_of, fill_row, load_records, read_record
from monitor.text.message import Template, Value, message_columns, read_columns

TRANSITIONS: Final[dict[DeliveryState, frozenset[DeliveryState]]] = {
    DeliveryState.QUEUED: frozenset({DeliveryState.CLAIMED, DeliveryState.SUPERSEDED}),
    DeliveryState.CLAIMED: frozenset(
        {DeliveryState.DELIVERED, DeliveryState.FAILED_RETRY, DeliveryState.FAILED_FINAL, DeliveryState.QUEUED}
    ),
    DeliveryState.FAILED_RETRY: frozenset({DeliveryState.CLAIMED, DeliveryState.SUPERSEDED}),
    # the provider may say later that it could not deliver
    DeliveryState.DELIVERED: frozenset(
        {DeliveryState.CONFIRMED, DeliveryState.FAILED_RETRY, DeliveryState.FAILED_FINAL}
    ),
    DeliveryState.FAILED_FINAL: frozenset(),
    DeliveryState.SUPERSEDED: frozenset(),
    DeliveryState.CONFIRMED: frozenset(),
}
_TAKEN: Final = (DeliveryState.DELIVERED, DeliveryState.CONFIRMED)
WAITING: Final = (DeliveryState.QUEUED, DeliveryState.FAILED_RETRY)
ERROR_LIMIT: Final = 500
BACKLOG_LIMIT: Final = 5000
EVENTS_LOOKED_AT: Final = 2000
# Bounds of what a row may say: it is not sealed, and who may write to the database must not delay a message by it.
LONGEST_WAIT: Final = timedelta(hours=1)  # for the next attempt
LONGEST_LEASE: Final = timedelta(minutes=5)
CLOCK_MARGIN: Final = timedelta(minutes=1)  # beyond both: our own clock may have gone back a little since
LONGEST_HOLD: Final = LONGEST_WAIT + CLOCK_MARGIN  # from its creation, which is sealed; then the row is not believed
MOST_ATTEMPTS: Final = 1_000_000
SENT_WITHIN: Final = timedelta(days=1)  # before now; so many messages of an alarm that comes and goes were sent
_LEASE_EXPIRED: Final = Template("delivery.lease_expired", "lease expired before the outcome was known")
_NO_LEASE: Final[dict[str, Any]] = {"lease_owner": None, "lease_until": None}
_ANSWERED: Final = (AlertState.ACKNOWLEDGED, *PUT_ASIDE)
_UNACKNOWLEDGED: Final = (AlertState.UNACKNOWLEDGED, AlertState.RETURNED_UNACKNOWLEDGED)


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message that is not sent yet, as the stages see it."""

    id: int
    alert_id: int
    site: str
    ledger: str
    level: int
    recipient: str
    channel: str
    queued_at: datetime
    next_attempt_at: datetime | None
    attempts: int
    alert_state: str
    urgent: bool  # one of the two highest levels, or top route: no stage may hold it back
    exercise: bool = False  # of a drill: never before a real one, never in its place
    key: str = ""  # of its alert

    def is_due(self, now: datetime) -> bool:
        """Whether it may go out; an instant later than anything that waits counts as now, as for `claim_due`."""
        at = self.next_attempt_at
        return at is None or at <= now or at > now + LONGEST_WAIT + CLOCK_MARGIN

    def is_old(self, now: datetime) -> bool:
        """Whether it waits so long that what its row says of the next attempt holds it up no more."""
        return now - self.queued_at > LONGEST_HOLD


@dataclass(frozen=True, slots=True)
class SentNotification:
    """One notification of an event, as the escalation sees it."""

    recipient: str
    channel: str
    queued_at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert nobody has acknowledged, with its newest notified event and whom we told of it."""

    alert_id: int
    event_id: int
    site: str
    ledger: str
    level: int
    level_name: str
    exercise: bool
    subject: str
    body: str
    urgent: bool
    raised_at: datetime
    sent: tuple[SentNotification, ...]  # oldest first
    key: str = ""
    insists: bool = False  # the alarm that nobody confirmed another alert
    reached: Mapping[str, datetime] = field(default_factory=dict)  # by earlier events that nobody answered: since when
    escalated_to: frozenset[str] = frozenset()  # those of them who were reached by escalation
    returned_at: datetime | None = None  # when it came back from where it had been put aside

    @property
    def is_back(self) -> bool:
        """Whether it came back since the newest message of it."""
        return self.returned_at is not None and max(t.queued_at for t in self.sent) < self.returned_at


def load_top_levels(c: Connection) -> dict[str, int]:
    """The number of the highest level of each known site."""
    return {
        row.id: max((int(v["number"]) for v in row.levels), default=0)
        for row in c.execute(select(site.c.id, site.c.levels))
    }


def _due(table: Any, now: datetime) -> Any:
    at = table.c.next_attempt_at
    return and_(table.c.state.in_(WAITING), or_(at.is_(None), at <= now, at > now + LONGEST_WAIT + CLOCK_MARGIN))


def _expired(now: datetime) -> Any:
    """A lease that ran out, or that nobody gave: none, or longer than any."""
    until = notification.c.lease_until
    is_void = or_(until.is_(None), until <= now, until > now + LONGEST_LEASE + CLOCK_MARGIN)
    return and_(notification.c.state == DeliveryState.CLAIMED, is_void)


def due_channels(c: Connection, now: datetime) -> set[str]:
    """Channels that have a message to send at `now`."""
    return set(c.execute(select(notification.c.channel).where(_due(notification, now)).distinct()).scalars())


def old_channels(c: Connection, now: datetime) -> set[str]:
    """Channels with a message that was not settled within `LONGEST_HOLD`, whatever its row says."""
    n = notification.c
    unsettled = (n.state.in_((*WAITING, DeliveryState.CLAIMED)), n.queued_at < now - LONGEST_HOLD)
    return set(c.execute(select(n.channel).where(*unsettled).distinct()).scalars())


def load_waiting(c: Connection, channel: str) -> list[QueuedMessage]:
    """All unsent messages of a channel, newest first (at most `BACKLOG_LIMIT`)."""
    n = notification
    query = (
        select(*columns_of(QueuedMessage, n), alert.c.state.label("alert_state"), alert.c.key)
        .join(alert, alert.c.id == n.c.alert_id)
        .where(n.c.state.in_(WAITING), n.c.channel == channel)
        .order_by(n.c.id.desc())
        .limit(BACKLOG_LIMIT)
    )
    tops = load_top_levels(c)
    # A command that stops a siren is as urgent as a command that starts it.
    has_commands = find_channel_traits(channel).orders
    return [
        QueuedMessage(**r._mapping, urgent=has_commands or is_urgent(r.ledger, r.level, tops.get(r.site)))  # noqa: SLF001
        for r in c.execute(query)
    ]


def count_sent(
    c: Connection, waiting: Sequence[QueuedMessage], channel: str, now: datetime
) -> Mapping[tuple[str, str, str], int]:
    """Messages that a channel sent within the day before of the alarms of health that wait, by site, key and recipient.

    Alarms that are or were urgent, and those of drills, are not counted.
    """
    alarms = [w for w in waiting if w.ledger == AlertCategory.HEALTH and not w.exercise]
    if not alarms:
        return {}
    a, n = alert.c, notification.c
    query = (
        select(a.site, a.key, n.recipient, func.count().label("messages"))
        .join(notification, n.alert_id == a.id)
        .where(
            a.site.in_({w.site for w in alarms}),
            a.ledger == AlertCategory.HEALTH,
            a.exercise.is_(False),
            a.key.in_({w.key for w in alarms}),
            a.peak_level < URGENT_HEALTH,
            n.channel == channel,
            n.sent_at > now - SENT_WITHIN,
        )
        .group_by(a.site, a.key, n.recipient)
    )
    return {(row.site, row.key, row.recipient): row.messages for row in c.execute(query)}


def claim_due(
    c: Connection,
    now: datetime,
    owner: str,
    lease_s: float,
    limit: int,
    channel: str,
    only: Collection[int] | None = None,
    overdue: Collection[int] = (),
    first: Collection[int] = (),
) -> list[Notification]:
    """Lease up to `limit` due messages of one channel, the most important first.

    Order over all sites: real before exercise, those to go `first`, what is open before notices that it is over, hazard
    before health before advice, higher level first, newer first. A message waits while a newer one of the same alert
    and recipient is due or being sent: after an outage the present state is told before the past.

    Args:
        owner: who holds the lease; only this owner may settle it.
        lease_s: after this the lease is void and `release_expired` gives the message back; at most `LONGEST_LEASE`.
        channel: `kind:address`.
        only: when given, ids outside are left alone, and stand before nobody.
        overdue: ids that are due whatever their rows say of the next attempt.
        first: ids that go before the others: urgent ones that were not tried yet, where others failed already.

    Returns:
        The leased messages with `attempts` already counted: a crash after the claim counts as an attempt.
    """
    n, newer = notification, notification.alias("newer")
    is_due = _due(newer, now) if only is None else and_(_due(newer, now), newer.c.id.in_(only))
    blocked = exists().where(
        newer.c.alert_id == n.c.alert_id,
        newer.c.recipient == n.c.recipient,
        newer.c.channel == n.c.channel,
        newer.c.id > n.c.id,
        or_(is_due, newer.c.state == DeliveryState.CLAIMED),
    )
    rank = case((n.c.ledger == "hazard", 0), (n.c.ledger == "health", 1), else_=2)
    query = (
        select(n)
        .where(n.c.channel == channel, or_(_due(n, now), and_(n.c.state.in_(WAITING), n.c.id.in_(overdue))), ~blocked)
        .order_by(
            n.c.exercise,
            case((n.c.id.in_(first), 0), else_=1),
            case((n.c.level == 0, 1), else_=0),
            rank,
            n.c.level.desc(),
            n.c.id.desc(),
        )
    )
    if only is not None:
        query = query.where(n.c.id.in_(only))
    claimed = []
    for row in c.execute(query.limit(limit)).all():
        attempts = min(row.attempts, MOST_ATTEMPTS) + 1  # more than an integer of the database holds were never made
        changed = c.execute(
            update(n)
            .where(n.c.id == row.id, n.c.state == row.state, n.c.attempts == row.attempts)
            .values(
                state=DeliveryState.CLAIMED,
                attempts=attempts,
                lease_owner=owner,
                lease_until=now + min(timedelta(seconds=lease_s), LONGEST_LEASE),
            )
        ).rowcount
        if changed == 1:
            subject, body, others = _compose(c, row)
            subject = mark_exercise(subject) if row.exercise else subject
            found = {"subject": subject, "body": body, "attempts": attempts, "others": others}
            claimed.append(read_record(Notification, row, **found))
    return claimed


# A message describes at most this many alerts of one cause.
_MAX_DESCRIBED: Final = 8
_DESCRIBED: Final = Template("body.described", "- {text} (alert {n})")
_MORE_ALERTS: Final = Template("body.more_alerts", "- and {n} more; see slopeward alerts list")


def _compose(c: Connection, row: Row[Any]) -> tuple[str, str, int]:
    """Return subject and body of a message, and of how many other alerts it tells.

    The body contains the messages that this message replaces, and its delay. Suggestions of one cause are described
    together, the worst first.
    """
    n = notification
    subject, body = read_columns(row, "subject"), read_columns(row, "body")
    parts = [split_lines(body)]
    later = c.execute(
        select(n.c.level_name, n.c.queued_at)
        .where(
            n.c.alert_id == row.alert_id,
            n.c.recipient == row.recipient,
            n.c.channel == row.channel,
            n.c.id > row.id,
            n.c.state.in_(_TAKEN),
        )
        .order_by(n.c.id.desc())
    ).first()
    if later is not None:
        subject = mark_delayed(subject)
        parts.append([describe_delay(row.queued_at, later.level_name, later.queued_at)])
    covered = load_covered(c, row.id)
    if covered:
        key = c.execute(select(alert.c.key).where(alert.c.id == row.alert_id)).scalar_one()
        own = read_record(SupersededMessage, row, key=key, body=body)
        covered_lines: list[tuple[datetime, str]] = []
        described: list[list[Value]] = []
        # Alerts that are open and alerts that are over are separate groups.
        for group in group_by_cause([own, *covered], lambda m: (str(m.level), m.ledger, m.key, False)):
            if len(group) == 1:
                if group[0] is not own:
                    covered_lines.append((group[0].queued_at, group[0].subject))
                continue
            newest = group[-1]
            worst_first = _sort_worst_first(group)
            cause = describe_cause([message.key for message in worst_first], is_ordered=True)
            lines = _describe_each(worst_first)
            if own in group:
                subject = replace_essence(subject, cause)
                first = DRILL(text=cause) if row.exercise else cause
                parts[0] = [first, *lines, *parts[0][1:]]
            else:
                covered_lines.append((newest.queued_at, replace_essence(newest.subject, cause)))
                described.append(lines)
        if covered_lines:
            parts.append(list_covered(covered_lines))
        parts += described
    others = {message.alert_id for message in covered} - {row.alert_id}
    first_part, *more = parts
    lines = [*first_part, *(line for part in more for line in ("", *part))]
    return subject, join_lines(lines) if lines != [body] else body, len(others)


def _sort_worst_first(group: Sequence["SupersededMessage"]) -> list["SupersededMessage"]:
    """Return one message for each alert, its newest one, by severity."""
    newest = {message.alert_id: message for message in sorted(group, key=lambda message: message.id)}
    return sorted(newest.values(), key=lambda message: (-find_severity(message.reason), split_numbers(message.key)))


def _describe_each(messages: Sequence["SupersededMessage"]) -> list[Value]:
    """Return a line for each alert with its reason."""
    lines: list[Value] = [_DESCRIBED(text=message.reason, n=message.alert_id) for message in messages[:_MAX_DESCRIBED]]
    if len(messages) > _MAX_DESCRIBED:
        lines.append(_MORE_ALERTS(n=len(messages) - _MAX_DESCRIBED))
    return lines


@dataclass(frozen=True, slots=True)
class SupersededMessage:
    """A message that another one stands for."""

    id: int
    alert_id: int
    queued_at: datetime
    subject: str
    ledger: str
    level: int
    key: str
    body: str

    @property
    def reason(self) -> Value:
        """The reason of the alert: the first line of the body, without the mark of a drill."""
        first = split_lines(self.body)[0]
        return unwrap(DRILL, first) if isinstance(first, str) else first


def load_covered(c: Connection, notification_id: int) -> list[SupersededMessage]:
    """Messages that were superseded by this one, directly or through others, oldest first."""
    n = notification
    found: dict[int, SupersededMessage] = {}
    frontier = [notification_id]
    while frontier:
        mine = select(n, alert.c.key).join(alert, alert.c.id == n.c.alert_id)
        rows = c.execute(mine.where(n.c.superseded_by.in_(frontier))).all()
        frontier = [r.id for r in rows if r.id not in found]
        found |= {r.id: read_record(SupersededMessage, r) for r in rows}
    return [found[key] for key in sorted(found)]


def _move(c: Connection, notification_id: int, to: DeliveryState, owner: str | None, **values: Any) -> bool:
    """One step of the state machine; True only if exactly this row took it."""
    sources = [source for source, targets in TRANSITIONS.items() if to in targets]
    query = update(notification).where(notification.c.id == notification_id, notification.c.state.in_(sources))
    if owner is not None:
        query = query.where(notification.c.lease_owner == owner)
    return c.execute(query.values(state=to, **values)).rowcount == 1


def mark_delivered(
    c: Connection, notification_id: int, owner: str, now: datetime, provider_id: str | None = None
) -> bool:
    """The channel took it, and calls it so. False when the lease was lost meanwhile: it goes again, same key."""
    n = notification.c
    status = case((n.received_at.is_(None), None), else_=n.provider_said)  # the device may have answered already
    values = {"sent_at": now, "next_attempt_at": None, "provider_id": provider_id, "provider_said": status}
    values |= message_columns("last_error", None)
    return _move(c, notification_id, DeliveryState.DELIVERED, owner, **_NO_LEASE, **values)


def mark_failed(
    c: Connection, notification_id: int, owner: str, error: str, *, permanent: bool, next_attempt_at: datetime | None
) -> bool:
    """The channel did not take it: try again at `next_attempt_at`, or never when `permanent`. Secrets are taken out."""
    state = DeliveryState.FAILED_FINAL if permanent else DeliveryState.FAILED_RETRY
    values = make_error_columns("last_error", error) | {"next_attempt_at": None if permanent else next_attempt_at}
    return _move(c, notification_id, state, owner, **_NO_LEASE, **values)


def make_error_columns(name: str, error: str | None) -> dict[str, Any]:
    """What went wrong, as the columns of an update: without secrets, and not longer than is kept.

    >>> make_error_columns("last_error", "smtp://ada:pw@mail is away")["last_error"]
    'smtp://ada:***@mail is away'
    """
    if error is not None and (bare := redact(error)[:ERROR_LIMIT]) != error:
        error = bare
    return message_columns(name, error)


def mark_superseded(c: Connection, notification_id: int, by: int) -> bool:
    """Another message stands for this one; it is never sent itself."""
    return _move(c, notification_id, DeliveryState.SUPERSEDED, None, superseded_by=by, next_attempt_at=None)


def postpone(c: Connection, notification_id: int, until: datetime, why: str) -> bool:
    """Keep a waiting message until an instant; says why where people look for reasons."""
    query = update(notification).where(notification.c.id == notification_id, notification.c.state.in_(WAITING))
    return c.execute(query.values(next_attempt_at=until, **message_columns("last_error", why))).rowcount == 1


class ChannelFailure(NamedTuple):
    """How a channel fails, by the messages that it did not take."""

    attempts: int  # of the one that was tried most often and waits
    since: datetime | None  # at least; None = none waits
    refused_at: datetime | None  # when the newest was queued that it refused for good, after all that it took
    error: str | None  # of the newest


def find_failing(c: Connection, channel: str) -> ChannelFailure:
    """How a channel fails now."""
    n = notification.c
    failed = (DeliveryState.FAILED_RETRY, DeliveryState.FAILED_FINAL)
    taken = select(func.max(n.id)).where(n.channel == channel, n.state.in_(_TAKEN))
    query = (
        select(n.attempts, n.queued_at, n.state, n.last_error, n.last_error_id, n.last_error_values)
        .where(n.channel == channel, n.state.in_(failed), n.id > func.coalesce(taken.scalar_subquery(), 0))
        .order_by(n.id.desc())
    )
    rows = c.execute(query).all()
    waiting = [row for row in rows if row.state == DeliveryState.FAILED_RETRY]
    return ChannelFailure(
        max((row.attempts for row in waiting), default=0),
        min((row.queued_at for row in waiting), default=None),
        next((row.queued_at for row in rows if row.state == DeliveryState.FAILED_FINAL), None),
        read_columns(rows[0], "last_error") if rows else None,
    )


def release_backoff(c: Connection, channel: str, now: datetime, but: Collection[int] = ()) -> bool:
    """Make due what a channel that is good again failed to take before, but what it has whole already. Always True."""
    n = notification.c
    waits = (n.channel == channel, n.state == DeliveryState.FAILED_RETRY, n.next_attempt_at > now, n.id.not_in(but))
    c.execute(update(notification).where(*waits).values(next_attempt_at=now))
    return True


def release_foreign(c: Connection, now: datetime, channel: str, owner: str) -> int:
    """Give back old messages of a channel that somebody else than its one worker holds."""
    n = notification.c
    mine = (n.state == DeliveryState.CLAIMED, n.channel == channel, n.queued_at < now - LONGEST_HOLD)
    foreign = update(notification).where(*mine, or_(n.lease_owner.is_(None), n.lease_owner != owner))
    return c.execute(foreign.values(state=DeliveryState.QUEUED, **_NO_LEASE, next_attempt_at=now)).rowcount


def release_expired(c: Connection, now: datetime) -> int:
    """Give back messages whose lease ran out: their worker died between claim and send, or hangs."""
    values = {"state": DeliveryState.QUEUED, "next_attempt_at": now, **message_columns("last_error", _LEASE_EXPIRED())}
    return c.execute(update(notification).where(_expired(now)).values(**values, **_NO_LEASE)).rowcount


def has_expired(c: Connection, now: datetime) -> bool:
    """Whether any lease ran out; a cheap look before a write transaction is opened."""
    return bool(c.execute(select(exists().where(_expired(now)))).scalar())


def count_sent_between(c: Connection, channel: str, since: datetime, until: datetime) -> int:
    """Messages that no drill caused and a channel took after `since` and until `until`, of the newest thousand rows.

    What a clock that was ahead stamped later than `until` does not count: it would hold others back as long.
    """
    n = notification
    floor = (c.execute(select(func.max(n.c.id))).scalar() or 0) - 1000
    query = select(func.count()).where(
        n.c.id > floor, n.c.channel == channel, n.c.sent_at > since, n.c.sent_at <= until, n.c.exercise.is_(False)
    )
    return int(c.execute(query).scalar_one())


def _is_escalated() -> ColumnElement[bool]:
    """Return the SQL condition of an open alert without an acknowledgement, which is escalated.

    An alarm of health or advice whose cause is gone remains on its list for a person, and is sent to nobody again.
    """
    is_over = and_(alert.c.ledger != AlertCategory.HAZARD, alert.c.state == AlertState.RETURNED_UNACKNOWLEDGED)
    return and_(alert.c.closed_at.is_(None), alert.c.state.in_(_UNACKNOWLEDGED), not_(is_over))


def load_unacknowledged(c: Connection) -> list[OpenAlert]:
    """Load the alerts that are escalated and were notified, each with the messages of its newest notified event."""
    return _load_notified(c, _is_escalated())


def find_notified_alert(c: Connection, alert_id: int) -> tuple[OpenAlert | None, bool]:
    """Load one alert with the messages of its newest notified event, and whether it is escalated.

    The alert is None if no message of it was queued.
    """
    alerts = _load_notified(c, alert.c.id == alert_id)
    is_escalated = c.execute(select(alert.c.id).where(alert.c.id == alert_id, _is_escalated())).first() is not None
    return (alerts[0] if alerts else None), is_escalated


def _load_notified(c: Connection, condition: ColumnElement[bool]) -> list[OpenAlert]:
    n = notification
    # There are few open alerts. This keeps the grouping below from reading the whole history.
    open_ids = select(alert.c.id).where(condition)
    newest = (
        select(n.c.alert_id, func.max(n.c.event_id).label("event_id"))
        .where(n.c.alert_id.in_(open_ids))
        .group_by(n.c.alert_id)
        .subquery()
    )
    query: Select[Any] = (
        select(n, alert.c.key, alert.c.raised_at)
        .join(alert, alert.c.id == n.c.alert_id)
        .join(newest, and_(newest.c.alert_id == n.c.alert_id, newest.c.event_id == n.c.event_id))
        .order_by(n.c.id)
    )
    tops, e = load_top_levels(c), alert_event.c
    # when alerts last came back from where they had been put aside
    back = (e.alert_id.in_(open_ids), e.from_state.in_(PUT_ASIDE), e.to_state == AlertState.UNACKNOWLEDGED)
    came_back = select(e.alert_id, func.max(e.at)).where(*back).group_by(e.alert_id)
    returned = dict(c.execute(came_back).all())
    reached: dict[int, dict[str, datetime]] = {}
    escalated_to: dict[int, set[str]] = {}
    for row in c.execute(_plan_reached(open_ids, newest)):
        reached.setdefault(row.alert_id, {})[row.recipient] = row.since
        if row.by_escalation:
            escalated_to.setdefault(row.alert_id, set()).add(row.recipient)
    groups: dict[int, list[Row[Any]]] = {}
    for row in c.execute(query):
        groups.setdefault(row.alert_id, []).append(row)
    return [
        read_record(
            OpenAlert,
            rows[0],
            urgent=is_urgent(rows[0].ledger, rows[0].level, tops.get(rows[0].site)),
            sent=tuple(SentNotification(r.recipient, r.channel, r.queued_at, r.state) for r in rows),
            insists=rows[0].key.startswith(UNCONFIRMED),
            reached=reached.get(number, {}),
            escalated_to=frozenset(escalated_to.get(number, ())),
            returned_at=returned.get(number),
        )
        for number, rows in groups.items()
    ]


def _plan_reached(open_ids: Select[Any], newest: Subquery) -> Select[Any]:
    """Whom earlier events of an alert reached since a person last acknowledged, put aside or confirmed it."""
    n, e = notification.c, alert_event.c
    acted = select(e.alert_id, func.max(e.id).label("event_id")).where(
        e.alert_id.in_(open_ids), e.to_state.in_(_ANSWERED)
    )
    confirmed = select(n.alert_id, func.max(n.event_id).label("event_id")).where(
        n.alert_id.in_(open_ids), n.confirmed_at.is_not(None)
    )
    ends = [one.group_by(one.selected_columns[0]).subquery() for one in (acted, confirmed)]
    query = (
        select(n.alert_id, n.recipient, func.min(n.queued_at).label("since"))
        .add_columns(func.max(case((n.queued_at > e.at, 1), else_=0)).label("by_escalation"))
        .join(alert_event, e.id == n.event_id)
        .join(newest, and_(newest.c.alert_id == n.alert_id, newest.c.event_id > n.event_id))
        .where(*(~n.channel.startswith(kind) for kind in list_ordering_prefixes()))
        .group_by(n.alert_id, n.recipient)
    )
    for end in ends:
        query = query.outerjoin(end, end.c.alert_id == n.alert_id).where(n.event_id > func.coalesce(end.c.event_id, 0))
    return query


def add_escalation(c: Connection, source: OpenAlert, recipient: str, channel: str, subject: str, now: datetime) -> bool:
    """Queue one more message of the same event; its key counts the rounds, so that a doubled call adds nothing."""
    turn = sum((t.recipient, t.channel) == (recipient, channel) for t in source.sent)
    key = digest_text(f"{source.event_id}|{recipient}|{channel}|escalation|{turn}")
    facts = {"recipient": recipient, "channel": channel, "subject": subject, "idempotency_key": key}
    row = fill_row(notification, source, **facts, state=DeliveryState.QUEUED, queued_at=now)
    statement = insert(c, notification).values(row).on_conflict_do_nothing(index_elements=["idempotency_key"])
    return c.execute(statement.returning(notification.c.id)).first() is not None


@dataclass(frozen=True, slots=True)
class AnsweredMessage:
    """A delivered message, and what a person did with its alert afterwards."""

    notification_id: int
    site: str
    recipient: str
    at: datetime
    by: str
    via: str | None  # the way: `command` or `page`


def load_answered(c: Connection, since: datetime) -> list[AnsweredMessage]:
    """Delivered messages on whose alert a person acted afterwards (since an instant), the first act first.

    Whether the person is the recipient of the message, only the site file knows.
    """
    n, e = notification.c, alert_event.c
    floor = (c.execute(select(func.max(e.id))).scalar() or 0) - EVENTS_LOOKED_AT
    acted = (e.alert_id == n.alert_id, e.id > floor, e.at > since, e.actor_kind == "person", n.sent_at <= e.at)
    query = select(n.id.label("notification_id"), n.site, n.recipient, e.at, e.actor.label("by"), e.via)
    return load_records(
        c, AnsweredMessage, query.where(*acted, n.state == DeliveryState.DELIVERED).order_by(e.id, n.id)
    )


def mark_confirmed(c: Connection, notification_id: int, at: datetime, by: str, via: str | None) -> bool:
    """The recipient of this delivered message answered its alert, by a way."""
    return _move(c, notification_id, DeliveryState.CONFIRMED, None, confirmed_at=at, confirmed_by=by, confirmed_via=via)


def count_states(c: Connection) -> dict[str, int]:
    """How many messages stand in each state."""
    query = select(notification.c.state, func.count()).group_by(notification.c.state)
    return {row[0]: int(row[1]) for row in c.execute(query)}


def load_alert_events(c: Connection, above: int) -> list[Row[Any]]:
    """Changes of alerts with an id above a floor, in order: what `<site>/alert` publishes."""
    a, e = alert.c, alert_event.c
    query = select(alert_event, a.site, a.ledger, a.exercise).where(e.alert_id == a.id, e.id > above)
    return list(c.execute(query.order_by(e.id).limit(500)))


def last_event_id(c: Connection, before: datetime) -> int:
    """The highest id of an alert event older than an instant, 0 when there is none."""
    return int(c.execute(select(func.max(alert_event.c.id)).where(alert_event.c.at < before)).scalar() or 0)


SENT = "sent"
FAILED = "failed"


def count_tries(c: Connection, site: str, recipient: str, day: str) -> int | None:
    """How often the digest of a day was tried; None when it was sent."""
    d = digest.c
    mine = (d.site == site, d.recipient == recipient, d.day == day)
    row = c.execute(select(d.state, d.attempts).where(*mine)).one_or_none()
    return 0 if row is None else None if row.state == SENT else int(row.attempts)


def note_try(
    c: Connection, site: str, recipient: str, day: str, channel: str, error: str | None, now: datetime
) -> None:
    """Keep what became of a digest; `error` is None when the channel took it."""
    d = digest.c
    values = {"channel": channel, "at": now, "state": SENT if error is None else FAILED}
    values |= make_error_columns("error", error)
    row = insert(c, digest).values(site=site, recipient=recipient, day=day, attempts=1, **values)
    keys = ["site", "recipient", "day"]
    c.execute(row.on_conflict_do_update(index_elements=keys, set_=values | {"attempts": d.attempts + 1}))


def count_messages(c: Connection, site: str, since: datetime, until: datetime) -> tuple[int, int, int]:
    """Messages of a site of a time: delivered, failed for good, waiting; no drills."""
    n = notification.c
    mine = (n.site == site, n.queued_at > since, n.queued_at <= until, n.exercise.is_(False))
    states: Counter[str] = Counter(dict(c.execute(select(n.state, func.count()).where(*mine).group_by(n.state)).all()))
    delivered, failed, waiting = (
        sum(states[s] for s in some) for some in (_TAKEN, (DeliveryState.FAILED_FINAL,), WAITING)
    )
    return delivered, failed, waiting
