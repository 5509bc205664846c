"""Stage quiet: in the quiet hours of a recipient messages wait; at their end they are one."""

from collections.abc import Sequence

from monitor.notify.verdict import Postponed, Superseded, Verdict, View
from monitor.store.alerting.outbox import LONGEST_WAIT, Waiting


def apply(waiting: Sequence[Waiting], view: View) -> list[Verdict]:
    """Postpone what is not urgent; when the hours are over, the highest of what waited lists the others.

    The two highest levels, "cannot see" and the top route of health are urgent: they pass at once. A message of a drill
    joins its like only.
    """
    verdicts: list[Verdict] = []
    groups: dict[tuple[str, str, bool], list[Waiting]] = {}
    for message in waiting:
        quiet = None if message.urgent else view.find_quiet(message.site, message.recipient)
        if quiet is None:
            continue
        start, end = quiet.find_window(view.now)
        if view.now < end:
            until = min(end, view.now + LONGEST_WAIT)
            verdicts.append(Postponed(message.id, until, "waits for the end of the quiet hours of its recipient"))
        elif start <= message.queued_at < end and message.attempts == 0:
            groups.setdefault((message.recipient, message.channel, message.exercise), []).append(message)
    for group in groups.values():
        carrier = max(group, key=lambda w: (w.ledger == "hazard", w.level, w.id))
        verdicts += [Superseded(w.id, carrier.id) for w in group if w.id != carrier.id]
    return verdicts
