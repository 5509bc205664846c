"""Levels that cannot be reached as readings really arrive, however far the slope moves, with why."""

from collections.abc import Mapping
from typing import Final

from forecasting.message import Duration, Message, Template
from monitor.decision.criteria.reachable import (
    Barriers,
    describe_barriers,
    describe_unreachable,
    find_barriers,
    list_barriers,
    list_followed,
)
from monitor.decision.series.assessment import DecisionContext, rare_key
from monitor.decision.series.intervals import find_interval_s, list_learning
from monitor.domain.instruments.parents import GONE
from monitor.domain.keys import VoteKey
from monitor.domain.site import Site

_MORE: Final = Template("reachable.more", "{text}; and so {n} more")
_MOST_SENTENCES: Final = 2
_SELDOM: Final = Template(
    "health.seldom",
    "a reading comes every {every}, declared is one every {declared}: silence gives a notice after {silence}. Set "
    "`interval` as it is, or `max_silence` for an earlier notice",
)
_DECLARED: Final = Template("reachable.declared", "{text} (declared: one every {every})")


def find_barred(windows: DecisionContext) -> tuple[Barriers, Mapping[tuple[str, str], Message]]:
    """What keeps levels from being reached now, and the series that come too seldom, with the sentence.

    A level that cannot be reached even if readings come as declared is told by `slopeward check`, and counted here.
    """
    declared, found = list_barriers(windows.site), {}
    rare: dict[tuple[str, str], Message] = {}
    for criterion, station, spec in list_followed(windows.site):
        key = VoteKey(criterion.id, station.id)
        was_rare = rare_key((station.id, spec.quantity)) in windows.memory.conditions
        every_s = find_interval_s(windows.track(criterion, station.id).times_s, spec.interval_s, was_rare=was_rare)
        usual = declared.get(key, {})
        if barriers := usual if every_s == spec.interval_s else find_barriers(criterion, station, spec, every_s):
            found[key] = barriers
        lost = [n for n, one in barriers.items() if one.is_shut and not (n in usual and usual[n].is_shut)]
        if lost:
            sentence = describe_unreachable(windows.site, criterion.id, [station.id], max(lost), barriers[max(lost)])
            rare.setdefault((station.id, spec.quantity), _DECLARED(text=sentence, every=Duration(spec.interval_s)))
    for spec in list_learning(windows.site):
        if (silence_s := windows.find_silence_s(spec)) > spec.max_silence_s:
            every, silence = Duration(silence_s / GONE), Duration(silence_s)
            text = _SELDOM(every=every, declared=Duration(spec.interval_s), silence=silence)
            rare.setdefault((spec.station, spec.quantity), text)
    return found, rare


def describe_lost(site: Site, barriers: Barriers, above: int) -> list[Message]:
    """Why levels above one cannot be reached: a sentence each, the gravest first, and how many more."""
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
