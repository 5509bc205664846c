"""Levels that votes can request at the intervals at which readings really arrive, and why higher ones are lost."""

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
    list_barriers,
    list_followed,
)
from monitor.decision.keys import VoteKey
from monitor.decision.series.assessment import DecisionContext, rare_key
from monitor.decision.series.intervals import find_interval_s, list_learning
from monitor.sites.parents import DEFAULT_SILENCE_INTERVALS, Place
from monitor.sites.records import Site
from monitor.sites.witnesses import BlockedLevels
from monitor.text.message import Duration, Message, Template

_MORE: Final = Template("reachable.more", "{text}; and so {n} more")
_MOST_SENTENCES: Final = 2
_SELDOM: Final = Template(
    "health.seldom",
    "a reading comes every {every}, declared is one every {declared}: silence gives a notice after {silence}. Set "
    "`interval` as it is, or `max_silence` for an earlier notice",
)
_DECLARED: Final = Template("reachable.declared", "{text} (declared: one every {every})")


@dataclass(frozen=True, slots=True)
class PresentReach:
    """Which levels votes can request at the present intervals between readings.

    Attributes:
        barriers: Why votes cannot reach levels, by vote and level.
        closed: The levels that cannot be reached, by criterion and witness.
        highest: The highest level that motion at each moving series can request.
        rare: Series whose readings arrive less often than declared, with the sentence that says what is lost by it.
    """

    barriers: Barriers
    closed: BlockedLevels
    highest: Mapping[Place, int]
    rare: Mapping[Place, Message]

    def find_barrier(self, site: Site, place: Place) -> Barrier | None:
        """Return the barrier of the lowest level that votes on a series cannot reach; None where there is none."""
        barriers = [
            (level, barrier)
            for criterion, station, spec in list_followed(site)
            if (spec.station, spec.quantity) == place
            for level, barrier in self.barriers.get(VoteKey(criterion.id, station.id), {}).items()
            if barrier.is_shut
        ]
        return min(barriers, key=lambda item: item[0])[1] if barriers else None


def find_present_reach(context: DecisionContext) -> PresentReach:
    """Return which levels votes can request at the intervals of the newest readings.

    `slopeward check` reports the levels that cannot be reached even at the declared intervals. They are lost here, too.
    """
    site = context.site
    declared = list_barriers(site)
    barriers: dict[VoteKey, Mapping[int, Barrier]] = {}
    rare: dict[Place, Message] = {}
    for criterion, station, spec in list_followed(site):
        key = VoteKey(criterion.id, station.id)
        was_rare = rare_key((station.id, spec.quantity)) in context.memory.conditions
        every_s = find_interval_s(context.track(criterion, station.id).times_s, spec.interval_s, was_rare=was_rare)
        usual = declared.get(key, {})
        present = usual if every_s == spec.interval_s else find_barriers(criterion, station, spec, every_s)
        if present:
            barriers[key] = present
        lost = [
            level
            for level, barrier in present.items()
            if barrier.is_shut and not (level in usual and usual[level].is_shut)
        ]
        if lost:
            sentence = describe_unreachable(site, criterion.id, [station.id], max(lost), present[max(lost)])
            rare.setdefault((station.id, spec.quantity), _DECLARED(text=sentence, every=Duration(spec.interval_s)))
    for spec in list_learning(site):
        silence_s = context.find_silence_s(spec)
        if silence_s > spec.max_silence_s:
            every, silence = Duration(silence_s / DEFAULT_SILENCE_INTERVALS), Duration(silence_s)
            text = _SELDOM(every=every, declared=Duration(spec.interval_s), silence=silence)
            rare.setdefault((spec.station, spec.quantity), text)
    closed = find_closed_levels(barriers)
    return PresentReach(barriers, closed, find_highest_levels(site, closed), rare)


def describe_lost(site: Site, barriers: Barriers, above: int) -> list[Message]:
    """Say why levels above a given one cannot be reached: the highest first, and how many sentences are left out."""
    found = [(n, text) for n, one, text in describe_barriers(site, barriers) if one.is_shut and n > above]
    sentences = [text for _, text in sorted(found, key=lambda item: -item[0])]
    return (
        sentences
        if len(sentences) <= _MOST_SENTENCES
        else [
            *sentences[: _MOST_SENTENCES - 1],
            _MORE(text=sentences[_MOST_SENTENCES - 1], n=len(sentences) - _MOST_SENTENCES),
        ]
    )
