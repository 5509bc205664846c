"""What an unsent message passes, stage by stage, before a channel takes it; the table at the end has the order."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.records import AlertState
from monitor.decision.changes import AlertCategory
from monitor.delivery.queries.outbox import (
    LONGEST_WAIT,
    QueuedMessage,
    count_sent,
    load_waiting,
    mark_superseded,
    postpone,
)
from monitor.delivery.verdict import DeliveryContext, Postponed, Stage, Superseded, Verdict
from monitor.text.message import Template

ASIDE: Final = {
    AlertState.SHELVED: Template("delivery.shelved", "shelved by a person; waits until the shelving ends")(),
    AlertState.SUPPRESSED: Template(
        "delivery.suppressed", "work on its station explains the alert; waits until the work is over"
    )(),
    AlertState.OUT_OF_SERVICE: Template(
        "delivery.out_of_service", "the alert is out of service; waits until it is put back"
    )(),
}
MOST_SENT: Final = 6  # messages of one alarm within a day: three times there and back
STANDS: Final = timedelta(hours=1)
_CHATTERING: Final = Template(
    "delivery.chattering", "{n} messages of this alarm within a day: waits until it has stood for an hour"
)
_QUIET: Final = Template("delivery.quiet", "waits for the end of the quiet hours of its recipient")
_GROUPED: Final = Template("delivery.grouped", "waits a moment for messages of the same kind")
_THROTTLED: Final = Template("delivery.throttled", "throttled: the channel took {n} messages within the hour")


def shelved(waiting: Sequence[QueuedMessage], view: DeliveryContext) -> list[Verdict]:
    """Postpone what is shelved; the two highest levels and the top route of health pass."""
    until = view.now + timedelta(seconds=view.limits.shelved_recheck_s)
    return [
        Postponed(w.id, until, ASIDE[AlertState(w.alert_state)])
        for w in waiting
        if w.alert_state in ASIDE and not w.urgent
    ]


def superseded(waiting: Sequence[QueuedMessage], view: DeliveryContext) -> list[Verdict]:
    """Set older messages aside in favour of the newest of the same alert, recipient and channel.

    An urgent message (the raise to a high level) is set aside only for one at least as high: nothing lower may hide
    that it happened. It is then sent after the newest one, marked as delayed. What was set aside is listed in the body
    of the message that stands for it.
    """
    del view
    verdicts: list[Verdict] = []
    newest: dict[tuple[int, str, str], QueuedMessage] = {}
    for message in sorted(waiting, key=lambda w: -w.id):
        key = (message.alert_id, message.recipient, message.channel)
        by = newest.setdefault(key, message)
        if by is message:
            continue
        if not message.urgent or by.level >= message.level:
            verdicts.append(Superseded(message.id, by.id))
        else:
            newest[key] = message  # a high raise that stays: what is older can still be told by it
    return verdicts


def chattering(waiting: Sequence[QueuedMessage], view: DeliveryContext) -> list[Verdict]:
    """Of an alarm of health that was told six times within a day, the newest message alone, after an hour.

    An instrument with a loose plug would else send two messages each time that it moves. Nothing urgent waits; the
    board and the page of the alert show each change at once. Who never comes to rest is reported again the next day.
    """
    verdicts: list[Verdict] = []
    newest: dict[tuple[str, str, str, str], QueuedMessage] = {}
    for message in sorted(waiting, key=lambda w: -w.id):
        sent = view.sent_last_day.get((message.site, message.key, message.recipient), 0)
        if message.urgent or message.exercise or message.ledger != AlertCategory.HEALTH or sent < MOST_SENT:
            continue
        by = newest.setdefault((message.site, message.key, message.recipient, message.channel), message)
        until = message.queued_at + STANDS
        if by is not message:
            verdicts.append(Superseded(message.id, by.id))
        elif view.now < until:
            verdicts.append(Postponed(message.id, until, _CHATTERING(n=sent)))
    return verdicts


def quiet(waiting: Sequence[QueuedMessage], view: DeliveryContext) -> list[Verdict]:
    """Postpone what is not urgent; each hazard is a message of its own afterwards, the others are grouped as always.

    The two highest levels, "cannot see" and the top route of health are urgent: they pass at once.
    """
    verdicts: list[Verdict] = []
    for message in waiting:
        hours = None if message.urgent else view.find_quiet(message.site, message.recipient)
        if hours is not None and view.now < (end := hours.find_window(view.now)[1]):
            until = min(end, view.now + LONGEST_WAIT)
            verdicts.append(Postponed(message.id, until, _QUIET()))
    return verdicts


def grouped(waiting: Sequence[QueuedMessage], view: DeliveryContext) -> list[Verdict]:
    """Join first attempts of health and advice of one site to one recipient into the highest and newest of them.

    Such messages wait a few seconds for company. Hazard messages and the top route of health are never grouped and
    never wait. A message of a drill joins its like only: it never stands for a real one.
    """
    verdicts: list[Verdict] = []
    groups: dict[tuple[str, str, str, str, bool], list[QueuedMessage]] = {}
    for message in waiting:
        if message.ledger != "hazard" and not message.urgent and message.attempts == 0:
            key = (message.site, message.ledger, message.recipient, message.channel, message.exercise)
            groups.setdefault(key, []).append(message)
    for group in groups.values():
        ready_at = min(w.queued_at for w in group) + timedelta(seconds=view.limits.group_wait_s)
        if ready_at > view.now:
            verdicts += [Postponed(w.id, ready_at, _GROUPED()) for w in group if w.is_due(view.now)]
            continue
        carrier = max(group, key=lambda w: (w.level, w.id))
        verdicts += [Superseded(w.id, carrier.id) for w in group if w.id != carrier.id]
    return verdicts


def throttled(waiting: Sequence[QueuedMessage], view: DeliveryContext) -> list[Verdict]:
    """Postpone what is above the hourly bound of the channel, hazards last; nothing is dropped."""
    left = view.limits.sends_per_hour - view.sent_last_hour
    due = [w for w in waiting if w.is_due(view.now) or w.is_old(view.now)]
    ordinary = sorted(
        (w for w in due if not w.urgent), key=lambda w: (w.exercise, w.ledger != AlertCategory.HAZARD, -w.level, -w.id)
    )
    until = view.now + timedelta(minutes=5)
    why = _THROTTLED(n=view.sent_last_hour)
    return [Postponed(w.id, until, why) for w in ordinary[max(left, 0) :]]


# `escalated` comes after the sending: the dispatcher runs it over alerts that nobody acknowledged
STAGES: Final[dict[str, Stage]] = {
    "shelved": shelved,
    "superseded": superseded,  # before the message waits: what is over is not reported as it was
    "chattering": chattering,
    "quiet": quiet,
    "grouped": grouped,
    "throttled": throttled,
}


def run_stages(c: Connection, channel: str, view: DeliveryContext) -> list[QueuedMessage]:
    """Apply all stages to the unsent messages of one channel and write their verdicts down.

    Returns:
        The messages no stage held back.
    """
    left = load_waiting(c, channel)
    view = replace(view, sent_last_day=count_sent(c, left, channel, view.now))
    for stage in STAGES.values():
        judged: set[int] = set()
        for verdict in stage(left, view):
            judged.add(verdict.id)
            if isinstance(verdict, Superseded):
                mark_superseded(c, verdict.id, verdict.by)
            else:
                postpone(c, verdict.id, verdict.until, verdict.why)
        left = [message for message in left if message.id not in judged]
    return left
