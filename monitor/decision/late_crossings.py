"""What crossed a bound while nobody watched: a backlog is looked at reading by reading, also where it votes no more."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile
from operator import attrgetter
from typing import Final

from monitor.decision.criteria.assess import assess_criterion
from monitor.decision.keys import Supporter
from monitor.decision.ladder import fuse
from monitor.decision.records import Condition, instant, seconds
from monitor.decision.series.assessment import Assessment, DecisionContext, EvaluationCache
from monitor.readings.records import Reading
from monitor.sites.witnesses import find_groups
from monitor.text.instants import EPOCH
from monitor.text.message import LABELLED_TEXT, Message, Template, Term, Timestamp, join

_LATE: Final = Template(
    "health.late_crossing",
    "nobody could be warned: readings that came late asked for {level} at {at}: {text}. Nothing says that it is over: "
    "keep everybody out until somebody has looked, then set the level",
)
LATE: Final = "health:site:late_"
MOST: Final = 48  # instants that are looked at; a longer backlog is thinned evenly
STORED: Final = timedelta(minutes=1)  # by then after its reception a reading is stored


def find_late(context: DecisionContext, level: int) -> dict[str, Condition]:
    """The highest level that a backlog asked for at any of its readings, where it is above the level that stands.

    A backlog is what follows the newest reading known at the look before, two readings at least, or one that is too old
    to vote. It stays open until the level is reached, a person has set one, or `hold_when_missing` is over.
    """
    site, memory, now_s = context.site, context.memory, context.now_s
    if level >= site.top_level:
        return {}
    since_s = memory.since_s if memory.level_source == "person" else float("-inf")
    names = [f"{LATE}{one.name}" for one in site.levels]
    kept = {
        k: c
        for k, c in memory.conditions.items()
        if k in names[level + 1 :] and since_s < c.since_s > now_s - site.fusion.hold_when_missing_s
    }
    found = [
        (requested, -at_s, sentence)
        for at_s in _list_backlog(context)
        for requested, sentence in [_find_requested(context, at_s)]
    ]
    requested, at_s, sentence = max(found, key=lambda one: one[:2], default=(0, 0.0, join([])))
    if requested > level and names[requested] not in kept:
        text = _LATE(level=Term(site.levels[requested].name), at=Timestamp(-at_s, "minute"), text=sentence)
        kept[names[requested]] = Condition("health", 2, now_s, text)
    return kept


def _list_backlog(context: DecisionContext) -> list[float]:
    """Instants of readings that no look has seen as the newest; the last one only where it votes no more."""
    memory, valid_s = context.memory, min((c.valid_for_s for c in context.site.criteria), default=0.0)
    if memory.seen_s is None or memory.started_s is None:
        return []
    seen_at, started_at = instant(memory.seen_s), instant(memory.started_s)
    seen_before_at = seen_at - STORED

    def is_new(r: Reading) -> bool:
        """Received since the look before; a late one may have been received before that look and stored behind it."""
        if r.received_at <= seen_before_at:
            return False
        return r.received_at > seen_at or r.received_at - r.observed_at > STORED

    found: set[datetime] = set()
    now_at = instant(context.now_s)
    valid_at = instant(max(0.0, context.now_s - max(0.0, valid_s - 1.0)))  # what is as new surely votes
    for readings in context.inputs.readings.values():
        is_alone = len(readings) > 1 and not is_new(readings[-2])
        newest_at = readings[-1].observed_at if is_alone else EPOCH
        if is_alone and (newest_at >= valid_at or context.now_s - seconds(newest_at) <= valid_s):
            continue  # at most the newest one, which this look sees
        new = [r.observed_at for r in takewhile(is_new, reversed(readings))]
        # of a series that nothing was known of, what was measured before the first look is its past
        begin_at = started_at if len(new) == len(readings) else EPOCH
        mine = [at for at in reversed(new) if begin_at < at <= now_at]
        found.update(mine if mine and context.now_s - seconds(mine[-1]) > valid_s else mine[:-1])
    times_s = sorted(map(seconds, found))
    return times_s[:: max(1, -(-len(times_s) // MOST))]


def _find_requested(context: DecisionContext, at_s: float) -> tuple[int, Message]:
    """The level that the witnesses would have asked for at an instant, had its readings been there; and who did."""
    site, groups = context.site, find_groups(context.site)
    at = instant(at_s)
    observed = attrgetter("observed_at")
    cut = {k: v[: bisect_right(v, at, key=observed)] for k, v in context.inputs.readings.items()}
    then = DecisionContext(site, replace(context.inputs, readings=cut), context.memory, at_s, EvaluationCache())
    raising: list[Assessment] = [
        a
        for c in site.criteria
        if c.role == "witness" and c.kind.source == "instruments"
        for a in assess_criterion(c, then)
        if a.raise_level > 0
    ]
    counted: Mapping[Supporter, int] = {a.key: a.raise_level for a in raising}
    requested = fuse(site, counted, lambda key: groups.get(key.station, key.station)).level
    loudest = sorted((a for a in raising if a.raise_level >= requested), key=lambda a: a.station)[:3]
    return requested, join([LABELLED_TEXT(name=a.station, text=a.reason) for a in loudest])
