"""Stage chattering: an alarm that comes and goes again and again waits until it has stood as it is for a while."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from monitor.notify.verdict import Postponed, Superseded, Verdict, View
from monitor.store.alerting.outbox import Waiting

MOST_RAISES: Final = 3  # of one alarm within a day are reported as they come
STANDS: Final = timedelta(hours=1)


def apply(waiting: Sequence[Waiting], view: View) -> list[Verdict]:
    """Of an alarm of health that began more than three times within a day, the newest message alone, after an hour.

    An instrument with a loose plug would else send two messages each time that it moves. Nothing urgent waits; the
    board and the page of the alert show each change at once.
    """
    verdicts: list[Verdict] = []
    newest: dict[tuple[str, str, str, str], Waiting] = {}
    for message in sorted(waiting, key=lambda w: -w.id):
        if message.urgent or message.raises <= MOST_RAISES:
            continue
        by = newest.setdefault((message.site, message.key, message.recipient, message.channel), message)
        until = message.queued_at + STANDS
        if by is not message:
            verdicts.append(Superseded(message.id, by.id))
        elif view.now < until:
            why = f"its alarm began {message.raises} times within a day: waits until it has stood for an hour"
            verdicts.append(Postponed(message.id, until, why))
    return verdicts
