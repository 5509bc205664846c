"""Stage chattering: an alarm that comes and goes again and again waits until it has stood as it is for a while."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from forecasting.message import Template
from monitor.domain.alert import Ledger
from monitor.notify.verdict import Postponed, Superseded, Verdict, View
from monitor.store.alerting.outbox import Waiting

MOST_TOLD: Final = 6  # messages of one alarm within a day: three times there and back
STANDS: Final = timedelta(hours=1)
_WAITS: Final = Template(
    "delivery.chattering", "{n} messages of this alarm within a day: waits until it has stood for an hour"
)


def apply(waiting: Sequence[Waiting], view: View) -> list[Verdict]:
    """Of an alarm of health that was told six times within a day, the newest message alone, after an hour.

    An instrument with a loose plug would else send two messages each time that it moves. Nothing urgent waits; the
    board and the page of the alert show each change at once. Who never comes to rest is reported again the next day.
    """
    verdicts: list[Verdict] = []
    newest: dict[tuple[str, str, str, str], Waiting] = {}
    for message in sorted(waiting, key=lambda w: -w.id):
        told = view.told.get((message.site, message.key, message.recipient), 0)
        if message.urgent or message.exercise or message.ledger != Ledger.HEALTH or told < MOST_TOLD:
            continue
        by = newest.setdefault((message.site, message.key, message.recipient, message.channel), message)
        until = message.queued_at + STANDS
        if by is not message:
            verdicts.append(Superseded(message.id, by.id))
        elif view.now < until:
            verdicts.append(Postponed(message.id, until, _WAITS(n=told)))
    return verdicts
