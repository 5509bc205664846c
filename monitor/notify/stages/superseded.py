"""Stage superseded: of several unsent messages of one alert to one recipient, the newest speaks for the others."""

from collections.abc import Sequence

from monitor.notify.verdict import Superseded, Verdict, View
from monitor.store.alerting.outbox import Waiting


def apply(waiting: Sequence[Waiting], view: View) -> list[Verdict]:
    """Set older messages aside in favour of the newest of the same alert, recipient and channel.

    An urgent message (the raise to a high level) is set aside only for one at least as high: nothing lower may hide
    that it happened. It is then sent after the newest one, marked as delayed. What was set aside is listed in the body
    of the message that stands for it.
    """
    del view
    verdicts: list[Verdict] = []
    newest: dict[tuple[int, str, str], Waiting] = {}
    for message in sorted(waiting, key=lambda w: -w.id):
        key = (message.alert_id, message.recipient, message.channel)
        by = newest.setdefault(key, message)
        if by is message:
            continue
        if not message.urgent or by.level >= message.level:
            verdicts.append(Superseded(message.id, by.id))
        else:
            newest[key] = message  # a high raise that stays: what is older can still be told by it
    return verdicts
