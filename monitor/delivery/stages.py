"""The stages of the messages of one alert as a table: who is notified, by which channel, when and why.

| stage | who | when |
|---|---|---|
| first notice | the recipients of the level; of a team the people on duty | with the change |
| change | people whom the escalation had notified before the change | at once |
| back | the recipients of the level | when the alert is no longer put aside |
| nobody reached | the next recipient | at once, when every message has failed for good |
| next recipient | the next recipient | the shortest `escalate_after` of those notified, after the newest message |
| repeat | all who set `escalate_after` | the same time again, when nobody is left to be notified |
| nobody confirmed | everybody, by an alarm of its own | urgent: 10 min after the last person was first notified |
| digest | those who asked for a daily digest | daily, while the alert is open |
| all clear | the recipients of the level | when the level is the lowest, or the cause is gone |

`find_next_rows` returns the stages from "change" to "repeat" of an alert that nobody acknowledged. The dispatcher
queues their messages when they are due. A person who would get a repeat and the alarm "nobody confirmed" at the same
instant gets only the repeat, which lists the alarm (`outbox.merge_alarms`). `list_rows` adds, for people, the messages
that were sent and those that follow. Quiet hours change no stage: they delay its message until `StageRow.held_until`
(`monitor.delivery.holding`).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from monitor.alerts.notification import DeliveryState
from monitor.decision.changes import AlertCategory
from monitor.decision.subjects import NOBODY_ELSE, mark_open
from monitor.delivery.holding import find_quiet_end
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries.outbox import OpenAlert, SentNotification
from monitor.sites.channels import find_channel_traits
from monitor.sites.records import Recipient
from monitor.text.zones import local_day, to_instant

# The steps of the escalation, each with the recipients who are notified in it. A team has several steps.
Chain = Sequence[Sequence[Recipient]]
# A longer `escalate_after` would exceed the range of dates.
_LONGEST_DELAY_S: Final = 100 * 365 * 86400.0
# At most this many steps of the escalation are predicted.
_MOST_STEPS: Final = 100


class Stage(StrEnum):
    """Why a message is sent; see the table of this module."""

    FIRST_NOTICE = "first notice"
    CHANGE = "change"
    BACK = "back"
    NOBODY_REACHED = "nobody reached"
    NEXT_RECIPIENT = "next recipient"
    REPEAT = "repeat"
    NOBODY_CONFIRMED = "nobody confirmed"
    DIGEST = "digest"
    ALL_CLEAR = "all clear"


@dataclass(frozen=True, slots=True)
class StageRow:
    """One message of the table.

    Attributes:
        due_at: When the message is queued; None if that depends on an event that nobody can predict.
        held_until: End of the quiet hours in which the message waits; None if it is sent at once.
        state: State of the delivery; None if the message is not queued yet.
    """

    stage: Stage
    recipient: str
    channel: str
    due_at: datetime | None
    held_until: datetime | None = None
    state: str | None = None


def find_next_rows(
    alert: OpenAlert, chain: Chain, addressees: Iterable[Recipient], now: datetime, limits: DeliveryLimits
) -> list[StageRow]:
    """Return the next messages of an alert that nobody acknowledged. They are due now or later.

    The time until the next message counts from the newest message of the event. While a recipient is left who was not
    notified yet, it counts from the first message to each person, also if that was about an earlier event. Otherwise an
    alert that changes again and again would never reach the next recipient. An urgent alert is repeated until somebody
    acknowledges it, others `escalation_rounds` times. Advice is not escalated.

    Args:
        alert: An alert of which at least one message was queued.
        chain: Who may be notified now, step by step.
        addressees: Who would be notified first of a new alert.
    """
    if alert.is_back:
        recipients = _list_recipients_of_level(alert, addressees)
        if recipients:
            return _make_rows(Stage.BACK, recipients, now)
    if not alert.sent or alert.ledger == AlertCategory.ADVICE:
        return []
    escalated = _list_escalated_before(alert, chain)
    if escalated:
        return _make_rows(Stage.CHANGE, escalated, now)
    next_step = find_next_step(alert, chain)
    # A siren that sounds notifies none of the people who must act, so its messages do not count.
    readable = [message for message in alert.sent if not find_channel_traits(message.channel).orders]
    if next_step and readable and all(message.state == DeliveryState.FAILED_FINAL for message in readable):
        return _make_rows(Stage.NOBODY_REACHED, next_step, now)
    delays_s = list_escalation_delays_s(alert, chain, limits)
    if not delays_s:
        return []
    earlier = alert.notified_before if next_step else {}
    starts = [min(message.queued_at, earlier.get(message.recipient, message.queued_at)) for message in alert.sent]
    due_at = max(starts) + timedelta(seconds=min(*delays_s, _LONGEST_DELAY_S))
    if next_step:
        return _make_rows(Stage.NEXT_RECIPIENT, next_step, due_at)
    return _make_rows(Stage.REPEAT, _list_repeated(alert, chain, limits), due_at)


def find_due_rows(
    alert: OpenAlert, chain: Chain, addressees: Iterable[Recipient], now: datetime, limits: DeliveryLimits
) -> list[StageRow]:
    """Return the messages of `find_next_rows` that must be queued now."""
    rows = find_next_rows(alert, chain, addressees, now, limits)
    return [row for row in rows if row.due_at is not None and row.due_at <= now]


def mark_subject(stage: Stage, alert: OpenAlert, now: datetime) -> str:
    """Return the subject of a message of a stage. It states how long the alert is open, or that nobody was reached."""
    if stage is Stage.CHANGE:
        return alert.subject
    if stage is Stage.NOBODY_REACHED:
        return NOBODY_ELSE(text=alert.subject)
    first_at = min(message.queued_at for message in alert.sent)
    return mark_open(alert.subject, (now - first_at).total_seconds())


def find_next_step(alert: OpenAlert, chain: Chain) -> list[Recipient]:
    """Return the recipients of the first step in which somebody was not notified yet; empty if all were notified."""
    notified = {message.recipient for message in alert.sent}
    for step in chain:
        left = [
            recipient
            for recipient in step
            if alert.ledger in recipient.ledgers and recipient.readable and recipient.name not in notified
        ]
        if left:
            return left
    return []


def list_escalation_delays_s(alert: OpenAlert, chain: Chain, limits: DeliveryLimits) -> list[float]:
    """Return after how many seconds each person who was notified wants the alert to be escalated."""
    if alert.is_unconfirmed_alarm:
        return [limits.unconfirmed_again_s]
    notified = {message.recipient for message in alert.sent}
    return [
        recipient.escalate_after_s
        for step in chain
        for recipient in step
        if recipient.name in notified and recipient.escalate_after_s is not None
    ]


def list_first_messages(alert: OpenAlert) -> dict[str, datetime]:
    """Return when each person was first notified of the newest event, in the order of the messages."""
    first: dict[str, datetime] = {}
    for message in alert.sent:
        first.setdefault(message.recipient, message.queued_at)
    return first


def find_last_notified_at(alert: OpenAlert) -> datetime:
    """Return when the last person was first notified, of this event or of an earlier one (`notified_before`)."""
    return max(min(at, alert.notified_before.get(name, at)) for name, at in list_first_messages(alert).items())


def find_unconfirmed_at(alert: OpenAlert, chain: Chain, limits: DeliveryLimits) -> datetime | None:
    """Return when the alarm is due that nobody confirmed an urgent alert; None while the escalation continues.

    The escalation continues while somebody is left to be notified and a person who was notified set `escalate_after`.
    """
    if not alert.sent or (find_next_step(alert, chain) and list_escalation_delays_s(alert, chain, limits)):
        return None
    return find_last_notified_at(alert) + timedelta(seconds=limits.unconfirmed_after_s)


def list_rows(
    alert: OpenAlert,
    chain: Chain,
    addressees: Sequence[Recipient],
    now: datetime,
    limits: DeliveryLimits,
    *,
    is_escalated: bool,
    is_open: bool = True,
    zone: str = "",
) -> list[StageRow]:
    """Return the whole table of an alert: the messages of its newest event, and what follows if nobody acts.

    A repeat without end is listed once. Messages that follow are ordered by their times.

    Args:
        is_escalated: Whether the alert waits for an acknowledgement, so that it is escalated.
        is_open: Whether the alert is open.
        zone: Time zone of the site, for daily digests; empty for an alert of the service, which is in no digest.
    """
    rows: list[StageRow] = []
    if is_escalated:
        rows += _predict(alert, chain, addressees, now, limits)
    if is_open and zone:
        rows += _list_digests(addressees, zone, now)
    if not alert.urgent:
        quiet = {recipient.name: recipient.quiet for step in (*chain, addressees) for recipient in step}
        rows = [
            row
            if row.due_at is None or row.stage is Stage.DIGEST
            else replace(row, held_until=find_quiet_end(quiet.get(row.recipient), row.due_at))
            for row in rows
        ]
    rows.sort(key=_get_due_at)
    if is_open and alert.level > 0:
        rows += _list_all_clear(alert, addressees)
    return [*_classify_sent(alert), *rows]


def _get_due_at(row: StageRow) -> datetime:
    assert row.due_at is not None
    return row.due_at


def _predict(
    alert: OpenAlert, chain: Chain, addressees: Sequence[Recipient], now: datetime, limits: DeliveryLimits
) -> Iterator[StageRow]:
    """Yield the messages that follow if nobody acts and each message is delivered."""
    has_alarm = not alert.urgent or alert.exercise or alert.is_unconfirmed_alarm
    for _ in range(_MOST_STEPS):
        alarm_at = None if has_alarm else find_unconfirmed_at(alert, chain, limits)
        if alarm_at is not None:
            has_alarm = True
            everybody = {recipient.name: recipient for step in chain for recipient in step}
            recipients = [recipient for recipient in everybody.values() if AlertCategory.HEALTH in recipient.ledgers]
            yield from _make_rows(Stage.NOBODY_CONFIRMED, recipients, alarm_at)
        rows = find_next_rows(alert, chain, addressees, now, limits)
        yield from rows
        if not rows or (rows[0].stage is Stage.REPEAT and alert.urgent):
            return
        predicted = [
            SentNotification(row.recipient, row.channel, row.due_at or now, DeliveryState.DELIVERED) for row in rows
        ]
        alert = replace(alert, sent=(*alert.sent, *predicted))


def _classify_sent(alert: OpenAlert) -> list[StageRow]:
    """Return the messages of the newest event that are queued or sent, with their stages."""
    rows = []
    first_at = min((message.queued_at for message in alert.sent), default=None)
    notified: set[tuple[str, str]] = set()
    for message in alert.sent:
        target = (message.recipient, message.channel)
        if message.queued_at == first_at:
            stage = Stage.FIRST_NOTICE if alert.level > 0 else Stage.ALL_CLEAR
        else:
            stage = Stage.REPEAT if target in notified else Stage.NEXT_RECIPIENT
        notified.add(target)
        rows.append(StageRow(stage, message.recipient, message.channel, message.queued_at, state=str(message.state)))
    return rows


def _list_digests(addressees: Iterable[Recipient], zone: str, now: datetime) -> list[StageRow]:
    rows = []
    for recipient in addressees:
        channels = list_digest_channels(recipient)
        if recipient.digest is not None and channels:
            today = local_day(now, zone)
            times = [find_digest_at(recipient.digest, zone, today + timedelta(days=days)) for days in (0, 1)]
            rows.append(StageRow(Stage.DIGEST, recipient.name, channels[0], min(at for at in times if at >= now)))
    return rows


def find_digest_at(minute: int, zone: str, day: date) -> datetime:
    """Return when the digest of a local day is due, which is set in minutes after midnight."""
    return to_instant(day, minute, zone)


def list_digest_channels(recipient: Recipient) -> list[str]:
    """Return the channels of a recipient that carry digests, the preferred one first."""
    ranks = {channel: find_channel_traits(channel).digest_rank for channel in recipient.channels}
    return sorted((channel for channel, rank in ranks.items() if rank), key=lambda channel: ranks[channel])


def _list_all_clear(alert: OpenAlert, addressees: Iterable[Recipient]) -> list[StageRow]:
    """Return who is notified when the level is the lowest again: the recipients of this level or of a lower one."""
    is_hazard = alert.ledger == AlertCategory.HAZARD
    rows = []
    for recipient in {recipient.name: recipient for recipient in addressees}.values():
        has_level = not is_hazard or any(level <= alert.level for level in recipient.levels)
        if alert.ledger in recipient.ledgers and has_level:
            channels = recipient.channels if is_hazard else recipient.readable
            rows += [StageRow(Stage.ALL_CLEAR, recipient.name, channel, None) for channel in channels]
    return rows


def _list_recipients_of_level(alert: OpenAlert, addressees: Iterable[Recipient]) -> Collection[Recipient]:
    """Return the recipients of the level of an alert, each once."""
    is_hazard = alert.ledger == AlertCategory.HAZARD
    recipients = {
        recipient.name: recipient
        for recipient in addressees
        if alert.ledger in recipient.ledgers and (not is_hazard or alert.level in recipient.levels)
    }
    return recipients.values()


def _list_escalated_before(alert: OpenAlert, chain: Chain) -> list[Recipient]:
    """Return the people whom the escalation notified of an earlier event (`escalated_to`), but not of this one."""
    notified = {message.recipient for message in alert.sent}
    escalated = {
        recipient.name: recipient
        for step in chain
        for recipient in step
        if recipient.name in alert.escalated_to and recipient.name not in notified
    }
    return [recipient for recipient in escalated.values() if alert.ledger in recipient.ledgers and recipient.readable]


def _list_repeated(alert: OpenAlert, chain: Chain, limits: DeliveryLimits) -> Collection[Recipient]:
    """Return who gets the alert again. Nobody does after `escalation_rounds` repeats, unless it is urgent."""
    notified = {message.recipient for message in alert.sent}
    repeated = {
        recipient.name: recipient
        for step in chain
        for recipient in step
        if recipient.name in notified
        and (recipient.escalate_after_s is not None or alert.is_unconfirmed_alarm)
        and alert.ledger in recipient.ledgers
    }
    if alert.urgent:
        return repeated.values()
    sent = [(message.recipient, message.channel) for message in alert.sent]
    message_counts = [
        sent.count((recipient.name, channel)) for recipient in repeated.values() for channel in recipient.readable
    ]
    # The first message is no repeat.
    repeats = max(message_counts, default=0) - 1
    return repeated.values() if repeats < limits.escalation_rounds else ()


def _make_rows(stage: Stage, recipients: Iterable[Recipient], due_at: datetime) -> list[StageRow]:
    return [
        StageRow(stage, recipient.name, channel, due_at) for recipient in recipients for channel in recipient.readable
    ]
