"""Report a level that readings would have raised if they had been received in time.

A logger that was offline sends its readings later, as a backlog. A bound may have been crossed in between, by readings
that are too old to vote when they are received. `find_late_crossings` evaluates the criteria once more at the instant
of each reading of a backlog, and returns an urgent condition if a level above the standing one was requested.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile
from operator import attrgetter
from typing import Final, NamedTuple

from monitor.decision.criteria.assess import assess_criterion
from monitor.decision.keys import Supporter
from monitor.decision.ladder import fuse
from monitor.decision.records import Condition
from monitor.decision.series.assessment import Assessment, DecisionContext, EvaluationCache
from monitor.decision.series.steps import MAX_STORING_TIME_S
from monitor.readings.records import Reading
from monitor.text.instants import EPOCH, epoch_s, from_epoch_s
from monitor.text.message import LABELLED_TEXT, Message, Template, Term, Timestamp, join

_LATE: Final = Template(
    "health.late_crossing",
    "{level} would have been raised at {at}, but the readings were received too late: {text}. No reading shows that "
    "the motion is over. Keep everybody out, inspect the slope from a safe place, then set the level",
)
# Prefix of the alert key. The name of the level follows.
LATE: Final = "health:site:late_"
# Number of instants of a backlog that are evaluated. A longer backlog is thinned evenly.
MOST: Final = 48
# Number of stations that the message names.
_NAMED: Final = 3


class LateCrossing(NamedTuple):
    """The level that the readings up to an instant requested, and why."""

    level: int
    at_s: float
    reason: Message


def find_late_crossings(context: DecisionContext, level: int) -> dict[str, Condition]:
    """Return an urgent condition if a backlog requested a level above the standing one.

    Of several instants the one with the highest level counts, and of these the first. The condition stays open until
    the level is reached, a person sets the level, or `hold_when_missing` is over.

    Args:
        level: The standing level.
    """
    site = context.site
    memory = context.memory
    if level >= site.top_level:
        return {}
    keys = [f"{LATE}{declared.name}" for declared in site.levels]
    set_by_person_s = memory.since_s if memory.level_source == "person" else float("-inf")
    open_since_s = max(set_by_person_s, context.now_s - site.fusion.hold_when_missing_s)
    conditions = {
        key: condition
        for key, condition in memory.conditions.items()
        if key in keys[level + 1 :] and condition.since_s > open_since_s
    }
    crossings = [_assess_instant(context, at_s) for at_s in _list_backlog(context)]
    highest = max(crossings, key=lambda crossing: (crossing.level, -crossing.at_s), default=None)
    if highest is not None and highest.level > level and keys[highest.level] not in conditions:
        name = Term(site.levels[highest.level].name)
        text = _LATE(level=name, at=Timestamp(highest.at_s, "minute"), text=highest.reason)
        conditions[keys[highest.level]] = Condition("health", 2, context.now_s, text)
    return conditions


def _list_backlog(context: DecisionContext) -> list[float]:
    """Return the instants of readings that no evaluation has had as the newest of their series, epoch seconds.

    The newest reading of a series is only among them if it is too old to vote. Otherwise this evaluation judges it.
    """
    memory = context.memory
    if memory.seen_s is None or memory.started_s is None:
        return []
    valid_s = min((criterion.valid_for_s for criterion in context.site.criteria), default=0.0)
    started_at = from_epoch_s(memory.started_s)
    evaluated_at = from_epoch_s(memory.seen_s)
    now_at = from_epoch_s(context.now_s)
    instants: set[datetime] = set()
    for readings in context.inputs.readings.values():
        new = _list_new(readings, evaluated_at)
        if not new:
            continue
        # Readings before the first evaluation of the site are the history of a series that was just added.
        from_at = started_at if len(new) == len(readings) else EPOCH
        backlog = [at for at in new if from_at < at <= now_at]
        if backlog and context.now_s - epoch_s(backlog[-1]) <= valid_s:
            backlog.pop()
        instants.update(backlog)
    times_s = sorted(map(epoch_s, instants))
    spacing = max(1, -(-len(times_s) // MOST))
    return times_s[::spacing]


def _list_new(readings: Sequence[Reading], evaluated_at: datetime) -> list[datetime]:
    """Return the instants of the readings since the last evaluation, oldest first.

    A late reading may have been received before that evaluation and stored after it.
    """
    storing_time = timedelta(seconds=MAX_STORING_TIME_S)
    stored_at = evaluated_at - storing_time

    def is_new(reading: Reading) -> bool:
        if reading.received_at <= stored_at:
            return False
        return reading.received_at > evaluated_at or reading.received_at - reading.observed_at > storing_time

    new = [reading.observed_at for reading in takewhile(is_new, reversed(readings))]
    new.reverse()
    return new


def _assess_instant(context: DecisionContext, at_s: float) -> LateCrossing:
    """Return the level that witnesses would have requested at an instant with all readings up to it."""
    site = context.site
    at = from_epoch_s(at_s)
    observed_at = attrgetter("observed_at")
    earlier_readings = {
        name: readings[: bisect_right(readings, at, key=observed_at)]
        for name, readings in context.inputs.readings.items()
    }
    inputs = replace(context.inputs, readings=earlier_readings)
    context_then = DecisionContext(context.prepared, inputs, context.memory, at_s, EvaluationCache())
    raising: list[Assessment] = []
    for criterion in site.criteria:
        if criterion.role == "witness" and criterion.kind.source == "instruments":
            assessments = assess_criterion(criterion, context_then)
            raising += [assessment for assessment in assessments if assessment.raise_level > 0]
    requested_levels: dict[Supporter, int] = {assessment.key: assessment.raise_level for assessment in raising}
    level = fuse(site, requested_levels, context.prepared.groups).level
    return LateCrossing(level, at_s, _explain(raising, level))


def _explain(raising: Iterable[Assessment], level: int) -> Message:
    highest = [assessment for assessment in raising if assessment.raise_level >= level]
    highest.sort(key=lambda assessment: assessment.station)
    return join([LABELLED_TEXT(name=a.station, text=a.reason) for a in highest[:_NAMED]])
