"""Stage escalated: what nobody acknowledges in time, or nobody could be told, goes to the next recipient."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.alerts.notification import DeliveryState
from monitor.decision.changes import AlertCategory
from monitor.decision.subjects import NOBODY_ELSE, mark_open
from monitor.delivery.queries.outbox import OpenAlert
from monitor.delivery.verdict import DeliveryLimits
from monitor.sites.channels import find_channel_traits
from monitor.sites.records import Recipient


@dataclass(frozen=True, slots=True)
class Escalation:
    """One more message that must go out."""

    recipient: str
    channel: str
    subject: str


def apply(
    alert: OpenAlert, chain: Sequence[Sequence[Recipient]], now: datetime, limits: DeliveryLimits
) -> list[Escalation]:
    """Whom to tell now of an alert that nobody acknowledged.

    `chain` has who may be told, one step after the other: each recipient of the site file is a step, and a team is
    several (on duty now, the second, the lead, all). When every message of the event has failed for good, the next
    step is told at once. Otherwise the clock is the
    shortest `escalate_after` of those already told, counted from the newest message of the event; a new event does not
    set it back for whom an earlier one reached. Whom escalation had reached by an earlier event, which nobody answered,
    is told of the new one at once. When it has run out,
    the first step of the ledger in which somebody has not been told gets the message, whatever
    levels he asked for. When all have been told, all who set `escalate_after` are told again: without end for urgent
    alerts, else `escalation_rounds` times. That nobody confirmed an alert is told again to all. Advice is no alarm: it
    goes to those who asked for it, once, and to nobody else.
    """
    if not alert.sent or alert.ledger == AlertCategory.ADVICE:
        return []
    fresh = find_next_step(alert, chain)
    if reached := _find_reached(alert, chain):
        return _make_escalations(reached, alert.subject)
    people = [
        t for t in alert.sent if not find_channel_traits(t.channel).orders
    ]  # that a siren sounds reaches nobody of them
    if fresh and people and all(t.state == DeliveryState.FAILED_FINAL for t in people):
        return _make_escalations(fresh, NOBODY_ELSE(text=alert.subject))
    clocks = list_clocks(alert, chain, limits)
    # while somebody is left, what comes again and again does not set the clock back for those it reached before
    known = alert.reached if fresh else {}
    since = max(min(t.queued_at, known.get(t.recipient, t.queued_at)) for t in alert.sent)
    if not clocks or now - since < timedelta(seconds=min(clocks)):
        return []
    subject = _mark_open(alert, now)
    if fresh:
        return _make_escalations(fresh, subject)
    return _make_escalations(_list_again(alert, chain, limits), subject)


def _list_again(
    alert: OpenAlert, chain: Sequence[Sequence[Recipient]], limits: DeliveryLimits
) -> Collection[Recipient]:
    """Who is told once more when all have been told; nobody after `escalation_rounds`, unless it is urgent."""
    notified = {t.recipient for t in alert.sent}
    again = {
        r.name: r
        for step in chain
        for r in step
        if r.name in notified and (r.escalate_after_s is not None or alert.insists) and alert.ledger in r.ledgers
    }
    pairs = [(t.recipient, t.channel) for t in alert.sent]
    rounds = max((pairs.count((r.name, r.channels[0])) for r in again.values()), default=0)
    return again.values() if alert.urgent or rounds <= limits.escalation_rounds else ()


def escalate_return(alert: OpenAlert, addressees: Iterable[Recipient], now: datetime) -> list[Escalation]:
    """Who hears first that an alert is back from where it was put aside: whoever a new one would go to."""
    is_hazard = alert.ledger == AlertCategory.HAZARD
    wanted = {r.name: r for r in addressees if alert.ledger in r.ledgers and (not is_hazard or alert.level in r.levels)}
    return _make_escalations(wanted.values(), _mark_open(alert, now))


def _mark_open(alert: OpenAlert, now: datetime) -> str:
    return mark_open(alert.subject, (now - min(t.queued_at for t in alert.sent)).total_seconds())


def _find_reached(alert: OpenAlert, chain: Sequence[Sequence[Recipient]]) -> list[Recipient]:
    """Whom escalation reached by an earlier event that nobody answered, and not by this one."""
    notified = {t.recipient for t in alert.sent}
    left = {r.name: r for step in chain for r in step if r.name in alert.escalated_to and r.name not in notified}
    return [r for r in left.values() if alert.ledger in r.ledgers and r.readable]


def find_next_step(alert: OpenAlert, chain: Sequence[Sequence[Recipient]]) -> list[Recipient]:
    """The first of those who take the ledger and have not been told; empty when all have."""
    notified = {t.recipient for t in alert.sent}
    left = ([r for r in step if alert.ledger in r.ledgers and r.readable and r.name not in notified] for step in chain)
    return next((step for step in left if step), [])


def list_clocks(alert: OpenAlert, chain: Sequence[Sequence[Recipient]], limits: DeliveryLimits) -> list[float]:
    """After how many seconds each of those told wants somebody else to be told, or to be told again."""
    if alert.insists:
        return [limits.unconfirmed_again_s]
    notified = {t.recipient for t in alert.sent}
    return [r.escalate_after_s for step in chain for r in step if r.name in notified and r.escalate_after_s is not None]


def _make_escalations(turn: Iterable[Recipient], subject: str) -> list[Escalation]:
    return [Escalation(r.name, channel, subject) for r in turn for channel in r.readable]
