"""Stage escalated: what nobody acknowledges in time goes to the next recipient, and then round again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.domain.instants import spell_duration
from monitor.domain.site import Recipient
from monitor.notify.verdict import Limits
from monitor.store.outbox import OpenAlert


@dataclass(frozen=True, slots=True)
class Escalation:
    """One more message that must go out."""

    recipient: str
    channel: str
    subject: str


def apply(alert: OpenAlert, recipients: Sequence[Recipient], now: datetime, limits: Limits) -> list[Escalation]:
    """Whom to tell now of an alert that nobody acknowledged.

    The clock is the shortest `escalate_after` of those already told, counted from the newest message of the event. When
    it has run out, the first recipient of the ledger, in the order of the site file, who has not been told gets the
    message, whatever levels he asked for. When all have been told, all who set `escalate_after` are told again: without
    end for urgent alerts, else `escalation_rounds` times.
    """
    told = {t.recipient for t in alert.told}
    clocks = [r.escalate_after_s for r in recipients if r.name in told and r.escalate_after_s is not None]
    if not clocks or not alert.told:
        return []
    newest_at = max(t.queued_at for t in alert.told)
    if now - newest_at < timedelta(seconds=min(clocks)):
        return []
    chain = [r for r in recipients if alert.ledger in r.ledgers]
    fresh = next((r for r in chain if r.name not in told), None)
    turn = [fresh] if fresh is not None else [r for r in chain if r.name in told and r.escalate_after_s is not None]
    if fresh is None and not alert.urgent:
        rounds = max(
            (sum(t.recipient == r.name and t.channel == r.channels[0] for t in alert.told) for r in turn), default=0
        )
        if rounds > limits.escalation_rounds:
            return []
    silent_for = spell_duration(round((now - min(t.queued_at for t in alert.told)).total_seconds() / 60) * 60.0)
    subject = f"not acknowledged for {silent_for}: {alert.subject}"
    return [Escalation(r.name, channel, subject) for r in turn for channel in r.channels]
