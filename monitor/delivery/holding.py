"""Rules that hold back waiting messages before a channel sends them. `HOLDING_RULES` contains their order.

No rule holds back an urgent message: the two highest levels of a slope, and the highest level of health.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.records import AlertState
from monitor.decision.changes import AlertCategory
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries.outbox import (
    LONGEST_WAIT,
    QueuedMessage,
    count_sent,
    load_waiting,
    mark_superseded,
    postpone,
)
from monitor.sites.quiet_hours import QuietHours
from monitor.text.message import Template

_PUT_ASIDE: Final = {
    AlertState.SHELVED: Template("delivery.shelved", "shelved by a person; waits until the shelving ends")(),
    AlertState.SUPPRESSED: Template(
        "delivery.suppressed", "work on its station explains the alert; waits until the work is over"
    )(),
    AlertState.OUT_OF_SERVICE: Template(
        "delivery.out_of_service", "the alert is out of service; waits until it is put back"
    )(),
}
# An alarm with this many messages within a day (three times raised and ended) is chattering.
_CHATTERING_MESSAGES: Final = 6
_CHATTERING_WAIT: Final = timedelta(hours=1)
_THROTTLE_WAIT: Final = timedelta(minutes=5)
_CHATTERING: Final = Template(
    "delivery.chattering", "{n} messages of this alarm within a day: waits until it has not changed for an hour"
)
_QUIET: Final = Template("delivery.quiet", "waits for the end of the quiet hours of its recipient")
_GROUPED: Final = Template("delivery.grouped", "waits a moment for messages of the same kind")
_THROTTLED: Final = Template("delivery.throttled", "waits: the channel took {n} messages within the last hour")


@dataclass(frozen=True, slots=True)
class Superseded:
    """A message that is not sent, because the message `by` contains it."""

    id: int
    by: int


@dataclass(frozen=True, slots=True)
class Postponed:
    """A message that is not sent before `until`."""

    id: int
    until: datetime
    why: str


Hold = Superseded | Postponed


@dataclass(frozen=True, slots=True)
class HoldingContext:
    """What the rules use besides the waiting messages.

    Attributes:
        sent_last_hour: Number of messages that the channel took within the last hour.
        find_quiet: Called with the id of a site and the name of a recipient. Returns the quiet hours of the recipient,
            or None.
        sent_last_day: Number of messages that the channel sent within a day about health alarms that are not urgent, by
            site, key and recipient.
    """

    now: datetime
    sent_last_hour: int
    limits: DeliveryLimits = DeliveryLimits()  # noqa: RUF009  frozen
    find_quiet: Callable[[str, str], QuietHours | None] = lambda _site, _recipient: None
    sent_last_day: Mapping[tuple[str, str, str], int] = field(default_factory=dict)


HoldingRule = Callable[[Sequence[QueuedMessage], HoldingContext], list[Hold]]


def find_quiet_end(quiet: QuietHours | None, at: datetime) -> datetime | None:
    """Return when the quiet hours that contain an instant end; None outside of quiet hours."""
    if quiet is None:
        return None
    end = quiet.find_window(at)[1]
    return end if at < end else None


def hold_put_aside(waiting: Sequence[QueuedMessage], context: HoldingContext) -> list[Hold]:
    """Postpone the messages of alerts that are shelved, suppressed by work on the station, or out of service."""
    until = context.now + timedelta(seconds=context.limits.shelved_recheck_s)
    return [
        Postponed(message.id, until, _PUT_ASIDE[AlertState(message.alert_state)])
        for message in waiting
        if message.alert_state in _PUT_ASIDE and not message.urgent
    ]


def replace_older(waiting: Sequence[QueuedMessage], context: HoldingContext) -> list[Hold]:
    """Replace older messages by the newest one of the same alert, recipient and channel.

    A newer message replaces an urgent one only if its level is at least the same. Otherwise both are sent: the newer
    one first, then the urgent one, marked as delayed. The body of a message lists the messages that it replaces.
    """
    del context
    holds: list[Hold] = []
    newest: dict[tuple[int, str, str], QueuedMessage] = {}
    for message in sorted(waiting, key=lambda message: -message.id):
        key = (message.alert_id, message.recipient, message.channel)
        newer = newest.setdefault(key, message)
        if newer is message:
            continue
        if not message.urgent or newer.level >= message.level:
            holds.append(Superseded(message.id, newer.id))
        else:
            # This message is sent as well, so it can replace those that are older.
            newest[key] = message
    return holds


def hold_chattering(waiting: Sequence[QueuedMessage], context: HoldingContext) -> list[Hold]:
    """Postpone the newest message of a chattering alarm until it is an hour old, and replace the older ones by it.

    A health alarm is chattering if it had `_CHATTERING_MESSAGES` messages within a day. An instrument with a loose plug
    would otherwise cause two messages each time it moves. The instrument board and the page of the alert show each
    change at once.
    """
    holds: list[Hold] = []
    newest: dict[tuple[str, str, str, str], QueuedMessage] = {}
    for message in sorted(waiting, key=lambda message: -message.id):
        sent = context.sent_last_day.get((message.site, message.key, message.recipient), 0)
        if message.urgent or message.exercise:
            continue
        if message.ledger != AlertCategory.HEALTH or sent < _CHATTERING_MESSAGES:
            continue
        newer = newest.setdefault((message.site, message.key, message.recipient, message.channel), message)
        until = message.queued_at + _CHATTERING_WAIT
        if newer is not message:
            holds.append(Superseded(message.id, newer.id))
        elif context.now < until:
            holds.append(Postponed(message.id, until, _CHATTERING(n=sent)))
    return holds


def hold_quiet(waiting: Sequence[QueuedMessage], context: HoldingContext) -> list[Hold]:
    """Postpone messages in the quiet hours of their recipient.

    After the quiet hours each message about a slope is sent separately. The others are grouped (`group_notices`).
    """
    holds: list[Hold] = []
    for message in waiting:
        if message.urgent:
            continue
        end = find_quiet_end(context.find_quiet(message.site, message.recipient), context.now)
        if end is not None:
            # A message that waits longer than `LONGEST_WAIT` is treated as lost.
            until = min(end, context.now + LONGEST_WAIT)
            holds.append(Postponed(message.id, until, _QUIET()))
    return holds


def group_notices(waiting: Sequence[QueuedMessage], context: HoldingContext) -> list[Hold]:
    """Combine the new messages about health, or about advice, of one site to one recipient into one message.

    They wait a few seconds for each other. Then the newest of those with the highest level contains the others. A
    message that was tried before is sent by itself. Messages about slopes are never grouped. A message of a drill is
    grouped with messages of drills only.
    """
    holds: list[Hold] = []
    groups: dict[tuple[str, str, str, str, bool], list[QueuedMessage]] = {}
    for message in waiting:
        if message.ledger != AlertCategory.HAZARD and not message.urgent and message.attempts == 0:
            key = (message.site, message.ledger, message.recipient, message.channel, message.exercise)
            groups.setdefault(key, []).append(message)
    for group in groups.values():
        ready_at = min(message.queued_at for message in group) + timedelta(seconds=context.limits.group_wait_s)
        if ready_at > context.now:
            holds += [Postponed(message.id, ready_at, _GROUPED()) for message in group if message.is_due(context.now)]
            continue
        carrier = max(group, key=lambda message: (message.level, message.id))
        holds += [Superseded(message.id, carrier.id) for message in group if message.id != carrier.id]
    return holds


def throttle(waiting: Sequence[QueuedMessage], context: HoldingContext) -> list[Hold]:
    """Postpone the messages above the hourly limit of the channel. Messages about slopes are sent first."""
    remaining = max(context.limits.sends_per_hour - context.sent_last_hour, 0)
    due = [message for message in waiting if message.is_due(context.now) or message.is_old(context.now)]
    most_important_first = sorted(
        (message for message in due if not message.urgent),
        key=lambda message: (message.exercise, message.ledger != AlertCategory.HAZARD, -message.level, -message.id),
    )
    until = context.now + _THROTTLE_WAIT
    why = _THROTTLED(n=context.sent_last_hour)
    return [Postponed(message.id, until, why) for message in most_important_first[remaining:]]


# The order matters: a message is replaced by a newer one before it is postponed, so that no past state is sent later.
HOLDING_RULES: Final[dict[str, HoldingRule]] = {
    "put aside": hold_put_aside,
    "replaced": replace_older,
    "chattering": hold_chattering,
    "quiet hours": hold_quiet,
    "grouped": group_notices,
    "throttled": throttle,
}


def apply_holding_rules(c: Connection, channel: str, context: HoldingContext) -> list[QueuedMessage]:
    """Apply all rules to the waiting messages of a channel and store the result.

    Returns:
        The messages that no rule holds back.
    """
    waiting = load_waiting(c, channel)
    context = replace(context, sent_last_day=count_sent(c, waiting, channel, context.now))
    for rule in HOLDING_RULES.values():
        held: set[int] = set()
        for hold in rule(waiting, context):
            held.add(hold.id)
            if isinstance(hold, Superseded):
                mark_superseded(c, hold.id, hold.by)
            else:
                postpone(c, hold.id, hold.until, hold.why)
        waiting = [message for message in waiting if message.id not in held]
    return waiting
