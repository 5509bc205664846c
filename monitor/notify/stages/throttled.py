"""Stage throttled: a channel carries so many messages an hour; more are told later, urgent ones at once."""

from collections.abc import Sequence
from datetime import timedelta

from monitor.domain.alert import Ledger
from monitor.notify.verdict import Postponed, Verdict, View
from monitor.store.alerting.outbox import Waiting


def apply(waiting: Sequence[Waiting], view: View) -> list[Verdict]:
    """Postpone what is above the hourly bound of the channel, hazards last; nothing is dropped."""
    left = view.limits.sends_per_hour - view.sent_last_hour
    due = [w for w in waiting if w.is_due(view.now) or w.is_old(view.now)]
    ordinary = sorted(
        (w for w in due if not w.urgent), key=lambda w: (w.exercise, w.ledger != Ledger.HAZARD, -w.level, -w.id)
    )
    until = view.now + timedelta(minutes=5)
    why = f"throttled: the channel took {view.sent_last_hour} messages within the hour"
    return [Postponed(w.id, until, why) for w in ordinary[max(left, 0) :]]
