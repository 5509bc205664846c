"""The notification path as a list: what an unsent message passes, in order, before a channel takes it."""

from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from monitor.notify.stages import chattering, grouped, quiet, shelved, superseded, throttled
from monitor.notify.verdict import Stage, Superseded, View
from monitor.store.alerting.outbox import Waiting, count_told, load_waiting, mark_superseded, postpone

# `escalated` comes after the sending: the dispatcher runs it over alerts that nobody acknowledged
STAGES: Final[dict[str, Stage]] = {
    "shelved": shelved.apply,
    "superseded": superseded.apply,  # before the message waits: what is over is not reported as it was
    "chattering": chattering.apply,
    "quiet": quiet.apply,
    "grouped": grouped.apply,
    "throttled": throttled.apply,
}


def run_stages(c: Connection, channel: str, view: View) -> list[Waiting]:
    """Apply all stages to the unsent messages of one channel and write their verdicts down.

    Returns:
        The messages no stage held back.
    """
    left = load_waiting(c, channel)
    view = replace(view, told=count_told(c, left, channel, view.now))
    for stage in STAGES.values():
        judged: set[int] = set()
        for verdict in stage(left, view):
            judged.add(verdict.id)
            if isinstance(verdict, Superseded):
                mark_superseded(c, verdict.id, verdict.by)
            else:
                postpone(c, verdict.id, verdict.until, verdict.why)
        left = [message for message in left if message.id not in judged]
    return left
