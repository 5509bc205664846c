"""Stage shelved: messages of an alert that is put aside (shelved, suppressed, out of service) wait, but urgent ones."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from forecasting.message import Template
from monitor.domain.alert import AlertState
from monitor.notify.verdict import Postponed, Verdict, View
from monitor.store.alerting.outbox import Waiting

WHY: Final = {
    AlertState.SHELVED: Template("delivery.shelved", "shelved by a person; waits until the shelving ends")(),
    AlertState.SUPPRESSED: Template(
        "delivery.suppressed", "work on its station explains the alert; waits until the work is over"
    )(),
    AlertState.OUT_OF_SERVICE: Template(
        "delivery.out_of_service", "the alert is out of service; waits until it is put back"
    )(),
}


def apply(waiting: Sequence[Waiting], view: View) -> list[Verdict]:
    """Postpone what is shelved; the two highest levels and the top route of health pass."""
    until = view.now + timedelta(seconds=view.limits.shelved_look_s)
    return [
        Postponed(w.id, until, WHY[AlertState(w.alert_state)]) for w in waiting if w.alert_state in WHY and not w.urgent
    ]
