"""The outbox: messages that wait, the leases of workers on them, and the outcomes of their deliveries.

A state changes only along `TRANSITIONS`, by a conditional UPDATE. The caller continues only if one row changed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
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

from monitor.alerts.notification import TAKEN, DeliveryState, Notification
from monitor.alerts.outbox_tables import notification
from monitor.alerts.records import UNCONFIRMED, URGENT_HEALTH, AlertState, is_urgent
from monitor.alerts.states import PUT_ASIDE
from monitor.alerts.tables import alert, alert_event
from monitor.canonical import digest_text
from monitor.decision.changes import AlertCategory
from monitor.decision.subjects import mark_exercise
from monitor.delivery.queries.composing import compose
from monitor.logs import redact
from monitor.sites.channels import find_channel_traits, list_ordering_prefixes
from monitor.sites.tables import site
from monitor.storage.engine import insert
from monitor.storage.rows import columns_of, fill_row, load_records, row_to_record
from monitor.text.message import Template, message_columns, read_columns

TRANSITIONS: Final[dict[DeliveryState, frozenset[DeliveryState]]] = {
    DeliveryState.QUEUED: frozenset({DeliveryState.CLAIMED, DeliveryState.SUPERSEDED}),
    DeliveryState.CLAIMED: frozenset(
        {DeliveryState.DELIVERED, DeliveryState.FAILED_RETRY, DeliveryState.FAILED_FINAL, DeliveryState.QUEUED}
    ),
    DeliveryState.FAILED_RETRY: frozenset({DeliveryState.CLAIMED, DeliveryState.SUPERSEDED}),
    # A provider may report later that it could not deliver.
    DeliveryState.DELIVERED: frozenset(
        {DeliveryState.CONFIRMED, DeliveryState.FAILED_RETRY, DeliveryState.FAILED_FINAL}
    ),
    DeliveryState.FAILED_FINAL: frozenset(),
    DeliveryState.SUPERSEDED: frozenset(),
    DeliveryState.CONFIRMED: frozenset(),
}
WAITING: Final = (DeliveryState.QUEUED, DeliveryState.FAILED_RETRY)
ERROR_LIMIT: Final = 500
BACKLOG_LIMIT: Final = 5000
# At most this many of the newest events of alerts are searched for responses of people.
MAX_EXAMINED_EVENTS: Final = 2000
# Limits of the times in a row. Rows are not sealed, so a person with access to the database could delay a message.
LONGEST_WAIT: Final = timedelta(hours=1)
LONGEST_LEASE: Final = timedelta(minutes=5)
# The clock of this machine may have been set back a little since a time was written.
CLOCK_MARGIN: Final = timedelta(minutes=1)
# A message that was queued longer ago is tried whatever its row contains. Its creation time is sealed.
LONGEST_HOLD: Final = LONGEST_WAIT + CLOCK_MARGIN
# Numbers of attempts above this are not real, and may exceed an integer of the database.
MOST_ATTEMPTS: Final = 1_000_000
# Period in which the messages of an alarm that comes and goes are counted.
SENT_WITHIN: Final = timedelta(days=1)
_LEASE_EXPIRED: Final = Template("delivery.lease_expired", "lease expired before the outcome was known")
_NO_LEASE: Final[dict[str, Any]] = {"lease_owner": None, "lease_until": None}
_ANSWERED: Final = (AlertState.ACKNOWLEDGED, *PUT_ASIDE)
_UNACKNOWLEDGED: Final = (AlertState.UNACKNOWLEDGED, AlertState.RETURNED_UNACKNOWLEDGED)


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message that is not sent yet, for the holding rules.

    Attributes:
        urgent: Whether no rule may hold the message back.
        exercise: Whether the message belongs to a drill. It is sent after real ones and never replaces one.
        key: Key of its alert.
    """

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
    urgent: bool
    exercise: bool = False
    key: str = ""

    def is_due(self, now: datetime) -> bool:
        """Return whether it may be sent.

        The service writes no time later than `LONGEST_HOLD` from now. Such a time does not delay the message.
        """
        at = self.next_attempt_at
        return at is None or at <= now or at > now + LONGEST_HOLD

    def is_old(self, now: datetime) -> bool:
        """Return whether it was queued so long ago that the time of the next attempt in its row no longer counts."""
        return now - self.queued_at > LONGEST_HOLD


@dataclass(frozen=True, slots=True)
class SentNotification:
    """One message of an event, for the escalation."""

    recipient: str
    channel: str
    queued_at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert with the messages of its newest event of which people were notified.

    Attributes:
        sent: Messages of that event, oldest first.
        is_unconfirmed_alarm: Whether it is the alarm that nobody confirmed another alert (`UNCONFIRMED`).
        notified_before: When each person was first notified of an earlier event. Events before the last response of a
            person do not count.
        escalated_to: The people in `notified_before` whom the escalation notified.
        returned_at: When the alert last stopped being put aside; None if it never was.
        is_shadow: Whether the site was in shadow mode at that event, so that only people of the trial were notified.
    """

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
    sent: tuple[SentNotification, ...]
    key: str = ""
    is_unconfirmed_alarm: bool = False
    notified_before: Mapping[str, datetime] = field(default_factory=dict)
    escalated_to: frozenset[str] = frozenset()
    returned_at: datetime | None = None
    is_shadow: bool = False

    @property
    def is_back(self) -> bool:
        """Whether the alert stopped being put aside after its newest message was queued."""
        return self.returned_at is not None and max(message.queued_at for message in self.sent) < self.returned_at


def load_top_levels(c: Connection) -> dict[str, int]:
    """Return the number of the highest level of each site."""
    return {
        row.id: max((int(level["number"]) for level in row.levels), default=0)
        for row in c.execute(select(site.c.id, site.c.levels))
    }


def _is_due(table: Any, now: datetime) -> Any:
    """Return the SQL condition that a message is due, see `QueuedMessage.is_due`."""
    at = table.c.next_attempt_at
    return and_(table.c.state.in_(WAITING), or_(at.is_(None), at <= now, at > now + LONGEST_HOLD))


def _has_expired_lease(now: datetime) -> Any:
    """Return the SQL condition that the lease of a message has expired or is invalid.

    An invalid lease has no end, or ends later than the service writes.
    """
    until = notification.c.lease_until
    is_void = or_(until.is_(None), until <= now, until > now + LONGEST_LEASE + CLOCK_MARGIN)
    return and_(notification.c.state == DeliveryState.CLAIMED, is_void)


def load_due_channels(c: Connection, now: datetime) -> set[str]:
    """Return the channels with a message that is due."""
    return set(c.execute(select(notification.c.channel).where(_is_due(notification, now)).distinct()).scalars())


def load_old_channels(c: Connection, now: datetime) -> set[str]:
    """Return the channels with a message that was queued longer than `LONGEST_HOLD` ago and has no outcome yet."""
    n = notification.c
    unsettled = (n.state.in_((*WAITING, DeliveryState.CLAIMED)), n.queued_at < now - LONGEST_HOLD)
    return set(c.execute(select(n.channel).where(*unsettled).distinct()).scalars())


def load_waiting(c: Connection, channel: str) -> list[QueuedMessage]:
    """Load the unsent messages of a channel, newest first, at most `BACKLOG_LIMIT`."""
    n = notification
    query = (
        select(*columns_of(QueuedMessage, n), alert.c.state.label("alert_state"), alert.c.key)
        .join(alert, alert.c.id == n.c.alert_id)
        .where(n.c.state.in_(WAITING), n.c.channel == channel)
        .order_by(n.c.id.desc())
        .limit(BACKLOG_LIMIT)
    )
    top_levels = load_top_levels(c)
    # A command that stops a siren is as urgent as a command that starts it.
    has_commands = find_channel_traits(channel).orders
    messages = []
    for row in c.execute(query):
        urgent = has_commands or is_urgent(row.ledger, row.level, top_levels.get(row.site))
        messages.append(QueuedMessage(**row._mapping, urgent=urgent))  # noqa: SLF001
    return messages


def find_late_urgent(c: Connection, channels: Iterable[str], queued_before: datetime) -> list[str]:
    """Return the channels with an urgent message that was tried and not delivered, and was queued before an instant."""
    return [
        channel
        for channel in channels
        if any(
            message.urgent and message.attempts > 0 and message.queued_at <= queued_before
            for message in load_waiting(c, channel)
        )
    ]


def count_sent(
    c: Connection, waiting: Sequence[QueuedMessage], channel: str, now: datetime
) -> Mapping[tuple[str, str, str], int]:
    """Count the messages of waiting alarms of health that a channel sent within a day, by site, key and recipient.

    Alarms that are or were urgent, and those of drills, are not counted.
    """
    alarms = [message for message in waiting if message.ledger == AlertCategory.HEALTH and not message.exercise]
    if not alarms:
        return {}
    a, n = alert.c, notification.c
    query = (
        select(a.site, a.key, n.recipient, func.count().label("messages"))
        .join(notification, n.alert_id == a.id)
        .where(
            a.site.in_({message.site for message in alarms}),
            a.ledger == AlertCategory.HEALTH,
            a.exercise.is_(False),
            a.key.in_({message.key for message in alarms}),
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

    The order over all sites: real messages before those of drills, ids in `first`, open alerts before all clear, hazard
    before health before advice, higher levels first, newer first. A message waits while a newer one of the same alert
    and recipient is due or being sent, so that after an outage people read the present state before the past.

    Args:
        owner: Holder of the lease. Only the owner may store the outcome.
        lease_s: Length of the lease, at most `LONGEST_LEASE`. `release_expired_leases` gives the message back after it.
        channel: `kind:address`.
        only: If given, messages with other ids are ignored.
        overdue: Ids of messages that are due whatever time of the next attempt their rows contain.
        first: Ids of messages that precede the others, such as urgent messages that were not tried yet.

    Returns:
        The leased messages. Their attempts include this one, so that a crash after the lease counts as an attempt.
    """
    n, newer = notification, notification.alias("newer")
    is_due = _is_due(newer, now) if only is None else and_(_is_due(newer, now), newer.c.id.in_(only))
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
        .where(
            n.c.channel == channel, or_(_is_due(n, now), and_(n.c.state.in_(WAITING), n.c.id.in_(overdue))), ~blocked
        )
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
    leased = []
    for row in c.execute(query.limit(limit)).all():
        attempts = min(row.attempts, MOST_ATTEMPTS) + 1
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
            subject, body, others = compose(c, row)
            subject = mark_exercise(subject) if row.exercise else subject
            leased.append(
                row_to_record(Notification, row, subject=subject, body=body, attempts=attempts, others=others)
            )
    return leased


def _change_state(c: Connection, notification_id: int, to: DeliveryState, owner: str | None, **values: Any) -> bool:
    """Change the state of a message.

    Args:
        owner: The holder of the lease, who alone may change the state; None if no lease is needed.
        values: Further columns of the message.

    Returns:
        Whether `TRANSITIONS` and the owner of the lease allowed the change.
    """
    sources = [source for source, targets in TRANSITIONS.items() if to in targets]
    query = update(notification).where(notification.c.id == notification_id, notification.c.state.in_(sources))
    if owner is not None:
        query = query.where(notification.c.lease_owner == owner)
    return c.execute(query.values(state=to, **values)).rowcount == 1


def mark_delivered(
    c: Connection, notification_id: int, owner: str, now: datetime, provider_id: str | None = None
) -> bool:
    """Store that the channel took a message, with its id at the provider.

    Return False if the lease expired meanwhile. The message is then sent again under the same key.
    """
    n = notification.c
    # The report that the device has the message may arrive before the outcome of the delivery is stored.
    status = case((n.received_at.is_(None), None), else_=n.provider_said)
    values = {"sent_at": now, "next_attempt_at": None, "provider_id": provider_id, "provider_said": status}
    values |= message_columns("last_error", None)
    return _change_state(c, notification_id, DeliveryState.DELIVERED, owner, **_NO_LEASE, **values)


def mark_failed(
    c: Connection, notification_id: int, owner: str, error: str, *, permanent: bool, next_attempt_at: datetime | None
) -> bool:
    """Store that the channel did not take a message: it is tried again at `next_attempt_at`, or never if `permanent`.

    Secrets are removed from the error. Return False if the lease expired meanwhile.
    """
    state = DeliveryState.FAILED_FINAL if permanent else DeliveryState.FAILED_RETRY
    values = make_error_columns("last_error", error) | {"next_attempt_at": None if permanent else next_attempt_at}
    return _change_state(c, notification_id, state, owner, **_NO_LEASE, **values)


def make_error_columns(name: str, error: str | None) -> dict[str, Any]:
    """Return the columns of an error, without secrets and shortened.

    >>> make_error_columns("last_error", "smtp://ada:pw@mail is away")["last_error"]
    'smtp://ada:***@mail is away'
    """
    if error is not None:
        redacted = redact(error)[:ERROR_LIMIT]
        # A text without changes keeps its typed values.
        error = error if redacted == error else redacted
    return message_columns(name, error)


def mark_superseded(c: Connection, notification_id: int, by: int) -> bool:
    """Store that another message contains this one, which is not sent."""
    return _change_state(c, notification_id, DeliveryState.SUPERSEDED, None, superseded_by=by, next_attempt_at=None)


def merge_alarms(c: Connection, site_id: str, queued_at: datetime) -> int:
    """Replace the message of an alarm that nobody confirmed an alert by the message of this alert itself.

    Both were queued at the same instant for the same recipient and channel, and both state that nobody acknowledged the
    alert. The message of the alert contains more, so it is sent, and it lists the subject of the other one. Recipients
    who get no message of the alert at that instant get the alarm.

    Args:
        queued_at: When the messages were queued.

    Returns:
        The number of messages that are not sent.
    """
    n = notification.c
    query = select(n.id, n.alert_id, n.recipient, n.channel, alert.c.key).join(alert, alert.c.id == n.alert_id)
    rows = c.execute(query.where(n.site == site_id, n.queued_at == queued_at, n.state == DeliveryState.QUEUED)).all()
    own_messages = {(row.alert_id, row.recipient, row.channel): row.id for row in rows}
    merged = 0
    for row in rows:
        if row.key.startswith(UNCONFIRMED):
            number = int(row.key.removeprefix(UNCONFIRMED))
            own_message = own_messages.get((number, row.recipient, row.channel))
            if own_message is not None:
                merged += mark_superseded(c, row.id, own_message)
    return merged


def withdraw(c: Connection, notification_id: int, why: str) -> bool:
    """Store that a waiting message is not sent and that no other message contains it, with the reason for people."""
    values = {"superseded_by": notification_id, "next_attempt_at": None, **message_columns("last_error", why)}
    return _change_state(c, notification_id, DeliveryState.SUPERSEDED, None, **values)


def postpone(c: Connection, notification_id: int, until: datetime, why: str) -> bool:
    """Postpone a waiting message until an instant, and store the reason for people."""
    query = update(notification).where(notification.c.id == notification_id, notification.c.state.in_(WAITING))
    return c.execute(query.values(next_attempt_at=until, **message_columns("last_error", why))).rowcount == 1


class ChannelFailure(NamedTuple):
    """The messages that a channel failed to deliver since it last delivered one.

    Attributes:
        attempts: Largest number of attempts among those that wait for another attempt.
        since: When the oldest of those that wait was queued; None if none waits.
        refused_at: When the newest of those that failed for good was queued; None if none did.
        error: Error of the newest of all; None if the channel did not fail.
    """

    attempts: int
    since: datetime | None
    refused_at: datetime | None
    error: str | None


def find_channel_failure(c: Connection, channel: str) -> ChannelFailure:
    """Return the failures of a channel since it last delivered a message."""
    n = notification.c
    failed = (DeliveryState.FAILED_RETRY, DeliveryState.FAILED_FINAL)
    taken = select(func.max(n.id)).where(n.channel == channel, n.state.in_(TAKEN))
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
    """Make the messages due that a channel failed to deliver before it recovered, except those with an id in `but`.

    Returns:
        True, because the worker of the channel expects whether its lease was valid, and no lease is needed here.
    """
    n = notification.c
    waits = (n.channel == channel, n.state == DeliveryState.FAILED_RETRY, n.next_attempt_at > now, n.id.not_in(but))
    c.execute(update(notification).where(*waits).values(next_attempt_at=now))
    return True


def release_foreign_leases(c: Connection, now: datetime, channel: str, owner: str) -> int:
    """Give back old messages of a channel that are leased, but not to its worker `owner`. Return their number."""
    n = notification.c
    is_leased = (n.state == DeliveryState.CLAIMED, n.channel == channel, n.queued_at < now - LONGEST_HOLD)
    is_foreign = or_(n.lease_owner.is_(None), n.lease_owner != owner)
    return c.execute(
        update(notification)
        .where(*is_leased, is_foreign)
        .values(state=DeliveryState.QUEUED, **_NO_LEASE, next_attempt_at=now)
    ).rowcount


def release_expired_leases(c: Connection, now: datetime) -> int:
    """Give back messages whose lease expired, because their worker died or hangs. Return their number."""
    values = {"state": DeliveryState.QUEUED, "next_attempt_at": now, **message_columns("last_error", _LEASE_EXPIRED())}
    return c.execute(update(notification).where(_has_expired_lease(now)).values(**values, **_NO_LEASE)).rowcount


def has_expired_leases(c: Connection, now: datetime) -> bool:
    """Return whether a lease has expired. This needs no write transaction."""
    return bool(c.execute(select(exists().where(_has_expired_lease(now)))).scalar())


def count_sent_between(c: Connection, channel: str, since: datetime, until: datetime) -> int:
    """Count the messages of the newest thousand that a channel took between two instants, without drills.

    A message that was sent while the clock was ahead, so after `until`, does not count.
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
        select(n, alert.c.key, alert.c.raised_at, alert_event.c.shadow)
        .join(alert, alert.c.id == n.c.alert_id)
        .join(alert_event, alert_event.c.id == n.c.event_id)
        .join(newest, and_(newest.c.alert_id == n.c.alert_id, newest.c.event_id == n.c.event_id))
        .order_by(n.c.id)
    )
    top_levels = load_top_levels(c)
    e = alert_event.c
    # When each alert last stopped being put aside.
    back = (e.alert_id.in_(open_ids), e.from_state.in_(PUT_ASIDE), e.to_state == AlertState.UNACKNOWLEDGED)
    came_back = select(e.alert_id, func.max(e.at)).where(*back).group_by(e.alert_id)
    returned = dict(c.execute(came_back).all())
    notified_before: dict[int, dict[str, datetime]] = {}
    escalated_to: dict[int, set[str]] = {}
    for row in c.execute(_select_notified_before(open_ids, newest)):
        notified_before.setdefault(row.alert_id, {})[row.recipient] = row.since
        if row.by_escalation:
            escalated_to.setdefault(row.alert_id, set()).add(row.recipient)
    groups: dict[int, list[Row[Any]]] = {}
    for row in c.execute(query):
        groups.setdefault(row.alert_id, []).append(row)
    return [
        row_to_record(
            OpenAlert,
            rows[0],
            urgent=is_urgent(rows[0].ledger, rows[0].level, top_levels.get(rows[0].site)),
            sent=tuple(SentNotification(r.recipient, r.channel, r.queued_at, r.state) for r in rows),
            is_unconfirmed_alarm=rows[0].key.startswith(UNCONFIRMED),
            notified_before=notified_before.get(number, {}),
            escalated_to=frozenset(escalated_to.get(number, ())),
            returned_at=returned.get(number),
            is_shadow=rows[0].shadow,
        )
        for number, rows in groups.items()
    ]


def _select_notified_before(open_ids: Select[Any], newest: Subquery) -> Select[Any]:
    """Select who was notified of earlier events since a person last acknowledged, put aside or confirmed the alert.

    A message that was queued after its event (`by_escalation`) was queued by the escalation.
    """
    n, e = notification.c, alert_event.c
    acted = select(e.alert_id, func.max(e.id).label("event_id")).where(
        e.alert_id.in_(open_ids), e.to_state.in_(_ANSWERED)
    )
    confirmed = select(n.alert_id, func.max(n.event_id).label("event_id")).where(
        n.alert_id.in_(open_ids), n.confirmed_at.is_not(None)
    )
    ends = [query.group_by(query.selected_columns[0]).subquery() for query in (acted, confirmed)]
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
    """Queue one more message of an event. Its key contains the round, so that a repeated call adds nothing."""
    round_number = sum((sent.recipient, sent.channel) == (recipient, channel) for sent in source.sent)
    key = digest_text(f"{source.event_id}|{recipient}|{channel}|escalation|{round_number}")
    facts = {"recipient": recipient, "channel": channel, "subject": subject, "idempotency_key": key}
    row = fill_row(notification, source, **facts, state=DeliveryState.QUEUED, queued_at=now)
    statement = insert(c, notification).values(row).on_conflict_do_nothing(index_elements=["idempotency_key"])
    return c.execute(statement.returning(notification.c.id)).first() is not None


@dataclass(frozen=True, slots=True)
class MessageResponse:
    """An act of a person on an alert, after a message about this alert was delivered.

    Attributes:
        recipient: The recipient of the message. The person may be another one.
        at: When the person acted.
        by: The person who acted.
        via: How the person acted, such as `command` or `page`.
    """

    notification_id: int
    site: str
    recipient: str
    at: datetime
    by: str
    via: str | None


def load_responses(c: Connection, since: datetime) -> list[MessageResponse]:
    """Load the acts of people since an instant on alerts with delivered messages, in the order of the acts.

    There is one response for each act and each message. The site file declares whether the person is the recipient of
    the message.
    """
    n, e = notification.c, alert_event.c
    floor = (c.execute(select(func.max(e.id))).scalar() or 0) - MAX_EXAMINED_EVENTS
    acted = (e.alert_id == n.alert_id, e.id > floor, e.at > since, e.actor_kind == "person", n.sent_at <= e.at)
    query = select(n.id.label("notification_id"), n.site, n.recipient, e.at, e.actor.label("by"), e.via)
    return load_records(
        c, MessageResponse, query.where(*acted, n.state == DeliveryState.DELIVERED).order_by(e.id, n.id)
    )


def mark_confirmed(c: Connection, notification_id: int, at: datetime, by: str, via: str | None) -> bool:
    """Store that the recipient of a delivered message responded to its alert."""
    return _change_state(
        c, notification_id, DeliveryState.CONFIRMED, None, confirmed_at=at, confirmed_by=by, confirmed_via=via
    )


def count_states(c: Connection) -> dict[str, int]:
    """Return the number of messages in each state."""
    query = select(notification.c.state, func.count()).group_by(notification.c.state)
    return {row[0]: int(row[1]) for row in c.execute(query)}


def load_alert_events(c: Connection, above: int) -> list[Row[Any]]:
    """Load the changes of alerts with an id above `above`, in order, for the topic `<site>/alert`.

    Changes in shadow mode are left out, because programs act on this topic.
    """
    a, e = alert.c, alert_event.c
    query = select(alert_event, a.site, a.ledger, a.exercise).where(
        e.alert_id == a.id, e.id > above, e.shadow.is_(False)
    )
    return list(c.execute(query.order_by(e.id).limit(500)))


def last_event_id(c: Connection, before: datetime) -> int:
    """Return the highest id of an alert event before an instant; 0 if there is none."""
    return int(c.execute(select(func.max(alert_event.c.id)).where(alert_event.c.at < before)).scalar() or 0)
