"""Find the levels that votes cannot request, because readings are received less often than declared.

A fit needs some readings within its window, and a dwell needs several hits within a time. `find_present_reach` gets the
context of this evaluation, measures the interval of each series from its newest readings, and returns which levels
remain reachable. Observability, conditions and the reachable level use the result. `describe_lost` explains it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monitor.decision.judgements import (
    Barrier,
    Barriers,
    describe_barriers,
    describe_unreachable,
    find_barriers,
    find_closed_levels,
    find_highest_levels,
)
from monitor.decision.keys import VoteKey
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.series.assessment import DecisionContext, rare_key
from monitor.decision.series.intervals import find_interval_s
from monitor.sites.parents import DEFAULT_SILENCE_INTERVALS, Place
from monitor.sites.records import Site
from monitor.sites.witnesses import BlockedLevels
from monitor.text.message import Duration, Message, Template

_MORE: Final = Template("reachable.more", "{text}; and {n} more")
_MAX_SENTENCES: Final = 2
_SELDOM: Final = Template(
    "health.seldom",
    "a reading is received every {every}, but the site file declares one every {declared}, so silence is reported only "
    "after {silence}. Correct `interval` in the site file, or set `max_silence` for an earlier notice",
)
_DECLARED: Final = Template("reachable.declared", "{text} (declared: one every {every})")


@dataclass(frozen=True, slots=True)
class PresentReach:
    """Which levels votes can request at the present intervals between readings.

    Attributes:
        barriers: What limits each vote, by level: whether it closes the level, and why.
        closed: The levels that cannot be reached, by criterion and witness.
        highest: The highest level that each motion series can request.
        rare: Series whose readings are received less often than declared, with a sentence about the consequence.
    """

    barriers: Barriers
    closed: BlockedLevels
    highest: Mapping[Place, int]
    rare: Mapping[Place, Message]

    def find_barrier(self, prepared: PreparedSite, place: Place) -> Barrier | None:
        """Return the barrier of the lowest level that votes on a series cannot reach; None if they reach all."""
        barriers = [
            (level, barrier)
            for criterion, station, spec in prepared.measurable_votes
            if (spec.station, spec.quantity) == place
            for level, barrier in self.barriers.get(VoteKey(criterion.id, station.id), {}).items()
            if barrier.is_absolute
        ]
        return min(barriers, key=lambda item: item[0])[1] if barriers else None


def find_present_reach(context: DecisionContext) -> PresentReach:
    """Return which levels votes can request at the intervals of the newest readings.

    Levels that cannot be reached even at the declared intervals are contained in `closed` as well. Only `slopeward
    check` reports them, so their series are not contained in `rare` because of them.
    """
    site = context.site
    declared = context.prepared.barriers
    barriers: dict[VoteKey, Mapping[int, Barrier]] = {}
    rare: dict[Place, Message] = {}
    for criterion, station, spec in context.prepared.measurable_votes:
        key = VoteKey(criterion.id, station.id)
        was_rare = rare_key((station.id, spec.quantity)) in context.memory.conditions
        every_s = find_interval_s(context.track(criterion, station.id).times_s, spec.interval_s, was_rare=was_rare)
        as_declared = declared.get(key, {})
        present = as_declared if every_s == spec.interval_s else find_barriers(criterion, station, spec, every_s)
        if present:
            barriers[key] = present
        closed_as_declared = {level for level, barrier in as_declared.items() if barrier.is_absolute}
        lost = [level for level, barrier in present.items() if barrier.is_absolute and level not in closed_as_declared]
        if lost:
            sentence = describe_unreachable(site, criterion.id, [station.id], max(lost), present[max(lost)])
            rare.setdefault((station.id, spec.quantity), _DECLARED(text=sentence, every=Duration(spec.interval_s)))
    for spec in context.prepared.series_without_max_silence:
        silence_s = context.find_silence_s(spec)
        if silence_s > spec.max_silence_s:
            every, silence = Duration(silence_s / DEFAULT_SILENCE_INTERVALS), Duration(silence_s)
            text = _SELDOM(every=every, declared=Duration(spec.interval_s), silence=silence)
            rare.setdefault((spec.station, spec.quantity), text)
    closed = find_closed_levels(barriers)
    return PresentReach(barriers, closed, find_highest_levels(context.prepared, closed), rare)


def describe_lost(site: Site, barriers: Barriers, above: int) -> list[Message]:
    """Return sentences about why the levels above a given one cannot be reached, the highest level first.

    At most two sentences are returned. The last one contains the number of those left out.
    """
    lost = [
        (level, text)
        for level, barrier, text in describe_barriers(site, barriers)
        if barrier.is_absolute and level > above
    ]
    lost.sort(key=lambda item: -item[0])
    sentences = [text for _, text in lost]
    if len(sentences) <= _MAX_SENTENCES:
        return sentences
    shown = sentences[:_MAX_SENTENCES]
    shown[-1] = _MORE(text=shown[-1], n=len(sentences) - _MAX_SENTENCES)
    return shown
