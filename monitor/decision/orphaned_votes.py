"""What a level rests on and nobody will hear again: witnesses that the site file declares no more, or means otherwise.

A vote or supporter is named by its criterion and station. When a file is taken in, a criterion's name may come to mean
something else: automatic names (`level-1`) move when another criterion is added or removed. The new criterion must
not inherit what the old one said, least of all so that its fresh word ends a level. What was said stays under a name
that no criterion has: it holds, lowers nothing, and "cannot see: decide" is told when it lasts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from monitor.decision.keys import RuleKey, StepVote, Supporter, VoteKey
from monitor.decision.records import Memory
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion, Site
from monitor.sites.witnesses import list_voting_witnesses

GONE: Final = "~"  # stands behind the name of a criterion or rule that is heard no more; no site file may use it
_AUTOMATIC: Final = re.compile(r"[a-z_]+-\d+")


def find_orphaned_supporters(
    site: Site, supporters: Mapping[Supporter, int], level: int, known: Mapping[Supporter, float], now_s: float
) -> dict[Supporter, float]:
    """Supporters of a level that the site file declares no more, with the instant since when (epoch seconds)."""
    if level == 0:
        return {}
    declared = {
        VoteKey(c.id, v.witness)
        for c in site.criteria
        if c.role in {"witness", "part"}
        for v in list_voting_witnesses(site, c)
    }
    rules = {rule.id for rule in site.fusion.rules}
    found = {}
    for key, requested in supporters.items():
        if requested < level:
            continue
        if isinstance(key, StepVote):
            lost = site.station(key.station) is None
        elif isinstance(key, RuleKey):
            lost = key.rule not in rules or key.vote not in declared
        else:
            lost = key not in declared
        if lost:
            found[key] = known.get(key, now_s)
    return dict(sorted(found.items()))


def list_changed(old: Site | None, new: Site, memory: Memory) -> set[str]:
    """Names of criteria that mean something else now: another kind, quantity or side, or a name that has moved.

    A bound that was edited is the same criterion with another bound. Where the number of automatic names of a kind
    has changed, those whose bounds differ have moved. Without an old declaration nothing can be compared: all of them.
    """
    if old is None:
        behind = (k.vote if isinstance(k, RuleKey) else k for k in memory.supporters if not isinstance(k, StepVote))
        return {k.criterion for k in (*memory.votes, *behind)}
    before, after = {c.id: c for c in old.criteria}, {c.id: c for c in new.criteria}
    kinds = {c.kind for c in old.criteria}
    moved = {kind for kind in kinds if _count(old.criteria, kind) != _count(new.criteria, kind)}
    return {
        name
        for name, one in before.items()
        if (other := after.get(name)) is not None
        and (
            _means(one) != _means(other)
            or (one.kind in moved and _is_automatic(one) and one.thresholds != other.thresholds)
        )
    }


def set_apart(memory: Memory, changed: Iterable[str]) -> Memory:
    """The memory in which nothing under these names speaks for what they mean now; the level stands as it stood."""
    names = set(changed)

    def rename(key: Supporter) -> Supporter:
        if isinstance(key, StepVote):
            return key
        vote = key.vote if isinstance(key, RuleKey) else key
        if vote.criterion not in names:
            return key
        gone = VoteKey(f"{vote.criterion}{GONE}", vote.station)
        return RuleKey(f"{key.rule}{GONE}", gone) if isinstance(key, RuleKey) else gone

    supporters: dict[Supporter, int] = {}
    for key, level in memory.supporters.items():
        supporters[rename(key)] = max(level, supporters.get(rename(key), 0))
    return replace(
        memory,
        supporters=dict(sorted(supporters.items())),
        votes={k: v for k, v in memory.votes.items() if rename(k) == k},
        answered={k: at_s for k, at_s in memory.answered.items() if rename(k) == k},
    )


def _means(criterion: Criterion) -> object:
    sides = {(t.over is not None, t.under is not None) for t in criterion.thresholds}
    return criterion.kind, criterion.quantity, sides, sorted(criterion.kinds)


def _is_automatic(criterion: Criterion) -> bool:
    return _AUTOMATIC.fullmatch(criterion.id) is not None and criterion.id.startswith(f"{criterion.kind.id}-")


def _count(criteria: Iterable[Criterion], kind: Kind) -> int:
    return sum(1 for c in criteria if c.kind == kind and _is_automatic(c))
