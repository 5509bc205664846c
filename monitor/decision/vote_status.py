"""For what each vote counts, and what holds back those whose series scatters far more than usual."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from monitor.decision.keys import RuleKey, VoteKey
from monitor.decision.records import Condition, Votes
from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext
from monitor.decision.series.maintenance import MaintenanceMask
from monitor.decision.series.neighbours import VoteCap
from monitor.decision.series.station_health import SeriesHealthMap, scatter_key
from monitor.decision.series.step_clocks import clock_s
from monitor.sites.parents import Place
from monitor.sites.witnesses import Groups
from monitor.text.message import LABELLED_TEXT, Message


class VoteStatus(NamedTuple):
    """Status of one vote."""

    level: int  # what it asks for
    counts: int  # what of that counts by itself
    in_rules: int  # what of that counts inside rules: maintenance is judged by the level of the rule
    clear: bool  # true when fresh and sound data say that nothing above `level` is asked for
    lives: bool  # false when its newest datum is too old: it says nothing more
    pended: Message | None  # why it is set aside, or None
    capped: Message | None = None  # why less counts than it asks for, or None
    cover: MaintenanceMask | None = None  # maintenance of its station, or None
    newest_s: float = 0.0

    def says(self, level: int, rule_level: int, answered_s: float = float("-inf")) -> bool | None:
        """Whether it asks for a level, as a rule of another level hears it; None where that cannot be known.

        What a person answered by lowering the rule's level is heard again on newer data only.
        """
        if self.newest_s <= answered_s and self.in_rules >= level:
            return None
        if self.lives and self.in_rules >= level and (self.cover is None or rule_level > self.cover.limit):
            return True
        return False if self.clear and self.aside is None and self.level < level else None

    @property
    def aside(self) -> Message | None:
        """Why it lowers nothing: it is set aside or held down, or people work on its station."""
        return self.pended or self.capped or (None if self.cover is None else self.cover.reason)


def classify_votes(
    votes: Votes,
    pended: Mapping[VoteKey, Message],
    caps: Mapping[VoteKey, VoteCap],
    covers: Mapping[str, MaintenanceMask],
    fresh: set[VoteKey],
    now_s: float,
) -> dict[VoteKey, VoteStatus]:
    """Classify every vote: what it asks for, what of that counts, and why not all.

    Args:
        pended: votes whose series is sick or whose reference is under suspicion, with the reason.
        caps: votes that their neighbours do not share.
    """
    found = {}
    for key, vote in votes.items():
        lives = vote.valid_until_s >= now_s
        cap, cover = caps.get(key), covers.get(key.station)
        reason = pended.get(key)
        in_rules = 0 if reason is not None or not lives else vote.level if cap is None else min(vote.level, cap.level)
        counts = in_rules
        # judged by what it asks for, so that a vote for the highest level is never set aside by work on the station
        if reason is None and cover is not None and 0 < vote.level <= cover.limit:
            counts, reason = 0, cover.reason
        found[key] = VoteStatus(
            level=vote.level,
            counts=counts,
            in_rules=in_rules,
            clear=key in fresh,
            lives=lives,
            pended=reason,
            capped=None if cap is None else cap.reason,
            cover=cover,
            newest_s=vote.newest_s,
        )
    return found


def hold_scattering(
    context: DecisionContext,
    assessments: Assessments,
    scattering: Mapping[VoteKey, Place],
    series_health: SeriesHealthMap,
    groups: Groups,
) -> tuple[list[Assessment], dict[str, Condition]]:
    """What every criterion says, and why series cannot be judged; urgent where a vote is held.

    No vote on such a series rises before its clock is over, and none falls further than what others hold.

    Args:
        scattering: votes whose series cannot be judged, with the series.
    """
    found: dict[str, Condition] = {}
    if not scattering:
        return list(assessments), found
    memory, now_s = context.memory, context.now_s
    others = list(_list_others(context, assessments, scattering))
    held: list[Assessment] = []
    for one in assessments:
        place = scattering.get(one.key)
        if place is None:
            held.append(one)
            continue
        key, vote = scatter_key(place), memory.votes.get(one.key)
        before = 0 if vote is None else vote.level
        since_s = memory.conditions[key].since_s if key in memory.conditions else now_s
        waits = now_s < since_s + clock_s(context.site, one.station)
        level = min(one.raise_level, before) if waits else one.raise_level
        levels = [w.hold_level for w in others if groups.get(w.station) != groups.get(one.station)]
        hold = max([level, *(levels or [one.hold_level])])
        held.append(replace(one, raise_level=level, hold_level=hold, fresh=one.fresh and bool(levels)))
        urgency = 2 if max(before, one.raise_level) > 0 or (key in found and found[key].level == 2) else 1
        text = LABELLED_TEXT(name=".".join(place), text=series_health[place].burst or "")
        found[key] = Condition("health", urgency, since_s, text)
    return held, found


def _list_others(
    context: DecisionContext, assessments: Assessments, scattering: Collection[VoteKey]
) -> Iterator[Assessment]:
    """What those say that raised the level too and were in sight, without a pause, for their longest window."""
    memory = context.memory
    behind = {k.vote if isinstance(k, RuleKey) else k for k, v in memory.supporters.items() if v >= memory.level > 0}
    followed = {c.id: c for c in context.site.criteria if c.kind.followed}
    for one in assessments:
        criterion = followed.get(one.criterion)
        if criterion is None or one.key not in behind or one.key in scattering or not (one.has_data and one.fresh):
            continue
        spec = context.site.series(one.station, criterion.quantity)
        from_s = context.now_s - max([t.window_s or 0.0 for t in criterion.thresholds])
        times = [t for t in context.track(criterion, one.station).times_s if t > from_s]
        if spec is None:
            continue
        silence_s = context.find_silence_s(spec)
        if all(b - a <= silence_s for a, b in pairwise([from_s, *times, context.now_s])):
            yield one
