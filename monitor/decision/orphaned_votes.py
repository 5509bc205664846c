"""Keep a level whose supporters the site file does not declare any more, or declares with another meaning.

A vote or supporter is named after its criterion and witness. If a new site file is put in force, a name may refer to
something else: automatic names (`level-1`) move when a criterion of the same kind is added or removed. A new criterion
must not inherit the vote of the old one. Above all its fresh readings must not end a level that the old one raised.

Such a supporter is *orphaned*: `orphan_redefined` renames it with a suffix that no site file can declare. It then keeps
the level from falling, and if that lasts, people are asked to decide.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from monitor.decision.keys import RuleKey, StepVote, Supporter, VoteKey
from monitor.decision.records import Memory
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion, Site
from monitor.sites.witnesses import list_voting_witnesses

# Suffix of the name of an orphaned criterion or rule. A site file cannot declare a name with it.
ORPHANED: Final = "~"
# Names of criteria that the site file does not state, such as `velocity-1`.
_AUTOMATIC: Final = re.compile(r"[a-z_]+-\d+")


def find_orphaned_supporters(
    site: Site,
    supporters: Mapping[Supporter, int],
    level: int,
    orphaned_since_s: Mapping[Supporter, float],
    now_s: float,
) -> dict[Supporter, float]:
    """Return the supporters of a level that the site file does not declare any more, and since when, epoch seconds.

    Args:
        supporters: All supporters with their levels. Those of lower levels are not returned.
        orphaned_since_s: Result of the last evaluation.
    """
    if level == 0:
        return {}
    declared_votes = {
        VoteKey(criterion.id, voting.name)
        for criterion in site.criteria
        if criterion.role in {"witness", "part"}
        for voting in list_voting_witnesses(site, criterion)
    }
    orphaned = {
        key: orphaned_since_s.get(key, now_s)
        for key, requested_level in supporters.items()
        if requested_level >= level and not _is_declared(site, key, declared_votes)
    }
    return dict(sorted(orphaned.items()))


def _is_declared(site: Site, key: Supporter, declared_votes: Collection[VoteKey]) -> bool:
    if isinstance(key, StepVote):
        return site.station(key.station) is not None
    if isinstance(key, RuleKey):
        return key.vote in declared_votes and any(rule.id == key.rule for rule in site.fusion.rules)
    return key in declared_votes


def list_redefined_criteria(old: Site | None, new: Site, memory: Memory) -> set[str]:
    """Return the names of criteria that have another meaning in a new site file.

    Such a criterion has another kind, quantity or side of its bounds, or an automatic name that moved to another
    criterion. A criterion with other bounds is still the same. But if the number of automatic names of a kind changed,
    those whose bounds differ have moved.

    Args:
        old: The earlier declaration. If it is None, nothing can be compared, and all criteria in the memory are
            returned.
    """
    if old is None:
        supporting_votes = [
            key.vote if isinstance(key, RuleKey) else key for key in memory.supporters if not isinstance(key, StepVote)
        ]
        return {key.criterion for key in (*memory.votes, *supporting_votes)}
    new_criteria = {criterion.id: criterion for criterion in new.criteria}
    kinds = {criterion.kind for criterion in old.criteria}
    renumbered_kinds = {
        kind for kind in kinds if _count_automatic(old.criteria, kind) != _count_automatic(new.criteria, kind)
    }
    redefined = set()
    for criterion in old.criteria:
        successor = new_criteria.get(criterion.id)
        if successor is None:
            continue
        may_have_moved = criterion.kind in renumbered_kinds and _is_automatic(criterion)
        has_moved = may_have_moved and criterion.thresholds != successor.thresholds
        if has_moved or _describe_meaning(criterion) != _describe_meaning(successor):
            redefined.add(criterion.id)
    return redefined


def orphan_redefined(memory: Memory, redefined: Iterable[str]) -> Memory:
    """Return the memory in which supporters of redefined criteria are orphaned. The standing level does not change.

    Votes of these criteria are removed, and so are the answers for their readings.

    Args:
        redefined: Names of criteria.
    """
    names = set(redefined)

    def rename(key: Supporter) -> Supporter:
        if isinstance(key, StepVote):
            return key
        vote = key.vote if isinstance(key, RuleKey) else key
        if vote.criterion not in names:
            return key
        orphaned_vote = VoteKey(f"{vote.criterion}{ORPHANED}", vote.station)
        return RuleKey(f"{key.rule}{ORPHANED}", orphaned_vote) if isinstance(key, RuleKey) else orphaned_vote

    supporters: dict[Supporter, int] = {}
    for key, level in memory.supporters.items():
        renamed_key = rename(key)
        supporters[renamed_key] = max(level, supporters.get(renamed_key, 0))
    return replace(
        memory,
        supporters=dict(sorted(supporters.items())),
        votes={key: vote for key, vote in memory.votes.items() if rename(key) == key},
        answered={key: until_s for key, until_s in memory.answered.items() if rename(key) == key},
    )


def _describe_meaning(criterion: Criterion) -> object:
    """Return values that are equal for two criteria of the same meaning."""
    sides = {(threshold.over is not None, threshold.under is not None) for threshold in criterion.thresholds}
    return criterion.kind, criterion.quantity, sides, sorted(criterion.kinds)


def _is_automatic(criterion: Criterion) -> bool:
    is_numbered = _AUTOMATIC.fullmatch(criterion.id) is not None
    return is_numbered and criterion.id.startswith(f"{criterion.kind.id}-")


def _count_automatic(criteria: Iterable[Criterion], kind: Kind) -> int:
    return sum(1 for criterion in criteria if criterion.kind == kind and _is_automatic(criterion))
