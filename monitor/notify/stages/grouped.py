"""Stage grouped: one logger that falls silent is one message of ten lines, not ten messages."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from forecasting.message import Template
from monitor.notify.verdict import Postponed, Superseded, Verdict, View
from monitor.store.alerting.outbox import Waiting

_WAITS: Final = Template("delivery.grouped", "waits a moment for messages of the same kind")


def apply(waiting: Sequence[Waiting], view: View) -> list[Verdict]:
    """Join first attempts of health and advice of one site to one recipient into the highest and newest of them.

    Such messages wait a few seconds for company. Hazard messages and the top route of health are never grouped and
    never wait. A message of a drill joins its like only: it never stands for a real one.
    """
    verdicts: list[Verdict] = []
    groups: dict[tuple[str, str, str, str, bool], list[Waiting]] = {}
    for message in waiting:
        if message.ledger != "hazard" and not message.urgent and message.attempts == 0:
            key = (message.site, message.ledger, message.recipient, message.channel, message.exercise)
            groups.setdefault(key, []).append(message)
    for group in groups.values():
        ready_at = min(w.queued_at for w in group) + timedelta(seconds=view.limits.group_wait_s)
        if ready_at > view.now:
            verdicts += [Postponed(w.id, ready_at, _WAITS()) for w in group if w.is_due(view.now)]
            continue
        carrier = max(group, key=lambda w: (w.level, w.id))
        verdicts += [Superseded(w.id, carrier.id) for w in group if w.id != carrier.id]
    return verdicts
