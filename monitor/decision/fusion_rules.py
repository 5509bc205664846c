"""Evaluate the fusion rules of a site file: conditions on the votes of several criteria.

`apply_rule` gets a rule and the status of every vote. It returns whether the rule holds, and which votes make it hold.
A rule that holds requests its level once for each of these votes (`RuleStatus.keys`), so that its witnesses remain
distinguishable. A rule that cannot be judged neither raises nor lowers a level.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from monitor.decision.keys import RuleKey, VoteKey
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.vote_status import VoteStatus
from monitor.sites.fusion import Clause, FusionRule, evaluate_clause, find_supporting_leaves, format_clause
from monitor.sites.witnesses import is_met
from monitor.text.message import Template

_SENTENCES: Final = {
    True: Template("rule.holds", "rule {rule} holds: {clause}"),
    False: Template("rule.does_not_hold", "rule {rule} does not hold: {clause}"),
    None: Template(
        "rule.not_known", "rule {rule} cannot be judged, because votes are missing or do not count: {clause}"
    ),
}


@dataclass(frozen=True, slots=True)
class RuleStatus:
    """Result of one fusion rule.

    Attributes:
        holds: None if the rule cannot be judged, because votes are missing or do not count.
        supporting_votes: Votes that make the rule hold; empty if it does not hold.
    """

    rule: FusionRule
    holds: bool | None
    supporting_votes: tuple[VoteKey, ...]

    @property
    def keys(self) -> tuple[RuleKey, ...]:
        """Keys of the rule as a supporter of a level, one for each vote that makes it hold."""
        return tuple(RuleKey(self.rule.id, key) for key in self.supporting_votes)

    def describe(self) -> dict[str, Any]:
        """Return the result as JSON-ready values, for the evidence."""
        return {
            "level": self.rule.level,
            "holds": self.holds,
            "behind": list(self.supporting_votes),
            "sentence": _SENTENCES[self.holds](rule=self.rule.id, clause=format_clause(self.rule.when)),
        }


def apply_rule(context: DecisionContext, rule: FusionRule, statuses: Mapping[VoteKey, VoteStatus]) -> RuleStatus:
    """Evaluate a fusion rule on the votes of this evaluation."""
    site = context.site
    groups = context.prepared.groups

    def requests(leaf: Clause, witness: str) -> bool | None:
        key = VoteKey(leaf.criterion, witness)
        status = statuses.get(key)
        if status is None:
            return None
        answered_until_s = context.memory.answered.get(RuleKey(rule.id, key), float("-inf"))
        return status.requests(leaf.level, rule.level, answered_until_s)

    def evaluate_leaf(leaf: Clause) -> bool | None:
        votes = {witness: requests(leaf, witness) for witness in leaf.witnesses}
        certain = [witness for witness, vote in votes.items() if vote is True]
        if is_met(site, leaf, certain, groups):
            return True
        possible = [witness for witness, vote in votes.items() if vote is not False]
        return None if is_met(site, leaf, possible, groups) else False

    holds = evaluate_clause(rule.when, evaluate_leaf)
    supporting_votes: set[VoteKey] = set()
    if holds:
        for leaf in find_supporting_leaves(rule.when, evaluate_leaf):
            supporting_votes |= {
                VoteKey(leaf.criterion, witness) for witness in leaf.witnesses if requests(leaf, witness) is True
            }
    return RuleStatus(rule, holds, tuple(sorted(supporting_votes)))
