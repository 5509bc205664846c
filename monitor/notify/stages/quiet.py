"""Stage quiet: in the quiet hours of a recipient messages wait for their end."""

from collections.abc import Sequence
from typing import Final

from forecasting.message import Template
from monitor.notify.verdict import Postponed, Verdict, View
from monitor.store.alerting.outbox import LONGEST_WAIT, Waiting

_WAITS: Final = Template("delivery.quiet", "waits for the end of the quiet hours of its recipient")


def apply(waiting: Sequence[Waiting], view: View) -> list[Verdict]:
    """Postpone what is not urgent; each hazard is a message of its own afterwards, the others are grouped as always.

    The two highest levels, "cannot see" and the top route of health are urgent: they pass at once.
    """
    verdicts: list[Verdict] = []
    for message in waiting:
        quiet = None if message.urgent else view.find_quiet(message.site, message.recipient)
        if quiet is not None and view.now < (end := quiet.find_window(view.now)[1]):
            until = min(end, view.now + LONGEST_WAIT)
            verdicts.append(Postponed(message.id, until, _WAITS()))
    return verdicts
