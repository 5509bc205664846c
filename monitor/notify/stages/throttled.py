"""Stage throttled: a channel carries so many messages an hour; more are told later, urgent ones at once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from forecasting.message import Template
from monitor.domain.alert import Ledger
from monitor.notify.verdict import Postponed, Verdict, View
from monitor.store.alerting.outbox import Waiting

_WAITS: Final = Template("delivery.throttled", "throttled: the channel took {n} messages within the hour")


def apply(waiting: Sequence[Waiting], view: View) -> list[Verdict]:
    """Postpone what is above the hourly bound of the channel, hazards last; nothing is dropped."""
    left = view.limits.sends_per_hour - view.sent_last_hour
    due = [w for w in waiting if w.is_due(view.now) or w.is_old(view.now)]
    ordinary = sorted(
        (w for w in due if not w.urgent), key=lambda w: (w.exercise, w.ledger != Ledger.HAZARD, -w.level, -w.id)
    )
    until = view.now + timedelta(minutes=5)
    why = _WAITS(n=view.sent_last_hour)
    return [Postponed(w.id, until, why) for w in ordinary[max(left, 0) :]]
