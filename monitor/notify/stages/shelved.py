"""Stage shelved: messages of an alert that a person shelved wait, unless they are urgent."""

from collections.abc import Sequence
from datetime import timedelta

from monitor.domain.alert import AlertState
from monitor.notify.verdict import Postponed, Verdict, View
from monitor.store.alerting.outbox import Waiting


def apply(waiting: Sequence[Waiting], view: View) -> list[Verdict]:
    """Postpone what is shelved; the two highest levels and the top route of health pass."""
    until = view.now + timedelta(seconds=view.limits.shelved_look_s)
    return [
        Postponed(w.id, until, "shelved by a person; waits until the shelving ends")
        for w in waiting
        if w.alert_state == AlertState.SHELVED and not w.urgent
    ]
