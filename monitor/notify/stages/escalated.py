"""Stage escalated: what nobody acknowledges in time, or nobody could be told, goes to the next recipient."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.domain.alert import DeliveryState
from monitor.domain.instants import spell_about
from monitor.domain.site import Recipient
from monitor.notify.verdict import Limits
from monitor.store.alerting.outbox import OpenAlert


@dataclass(frozen=True, slots=True)
class Escalation:
    """One more message that must go out."""

    recipient: str
    channel: str
    subject: str


def apply(alert: OpenAlert, recipients: Sequence[Recipient], now: datetime, limits: Limits) -> list[Escalation]:
    """Whom to tell now of an alert that nobody acknowledged.

    When every message of the event has failed for good, the next recipient is told at once. Otherwise the clock is the
    shortest `escalate_after` of those already told, counted from the newest message of the event. When it has run out,
    the first recipient of the ledger, in the order of the site file, who has not been told gets the message, whatever
    levels he asked for. When all have been told, all who set `escalate_after` are told again: without end for urgent
    alerts, else `escalation_rounds` times.
    """
    if not alert.told:
        return []
    told = {t.recipient for t in alert.told}
    chain = [r for r in recipients if alert.ledger in r.ledgers]
    fresh = next((r for r in chain if r.name not in told), None)
    if fresh is not None and all(t.state == DeliveryState.FAILED_FINAL for t in alert.told):
        return _tell([fresh], f"nobody else could be reached: {alert.subject}")
    clocks = [r.escalate_after_s for r in recipients if r.name in told and r.escalate_after_s is not None]
    if not clocks or now - max(t.queued_at for t in alert.told) < timedelta(seconds=min(clocks)):
        return []
    silent_for = spell_about((now - min(t.queued_at for t in alert.told)).total_seconds())
    subject = f"not acknowledged for {silent_for}: {alert.subject}"
    if fresh is not None:
        return _tell([fresh], subject)
    again = [r for r in chain if r.name in told and r.escalate_after_s is not None]
    pairs = [(t.recipient, t.channel) for t in alert.told]
    rounds = max((pairs.count((r.name, r.channels[0])) for r in again), default=0)
    return _tell(again, subject) if alert.urgent or rounds <= limits.escalation_rounds else []


def _tell(turn: Sequence[Recipient], subject: str) -> list[Escalation]:
    return [Escalation(r.name, channel, subject) for r in turn for channel in r.channels]
