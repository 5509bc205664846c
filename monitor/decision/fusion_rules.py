"""Rules over several criteria: what each asks for now, what it rests on, and whether that can be known at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from monitor.decision.keys import RuleKey, Support, VoteKey
from monitor.decision.vote_status import VoteStatus
from monitor.sites.fusion import Clause, FusionRule, evaluate_clause, find_supporting_leaves, format_clause
from monitor.sites.records import Site
from monitor.sites.witnesses import Groups, is_met
from monitor.text.message import Template

_SENTENCES: Final = {
    True: Template("rule.holds", "rule {rule} holds: {clause}"),
    False: Template("rule.does_not_hold", "rule {rule} does not hold: {clause}"),
    None: Template("rule.not_known", "rule {rule} cannot be judged: {clause}"),
}


@dataclass(frozen=True, slots=True)
class RuleStatus:
    """What one rule says now."""

    rule: FusionRule  # the rule
    holds: bool | None  # true, False, or None where too little is known; None neither raises nor lowers
    behind: tuple[VoteKey, ...]  # votes it rests on where it holds, as `criterion|witness`

    @property
    def keys(self) -> tuple[RuleKey, ...]:
        """How the ladder names its votes: one for each witness behind it."""
        return tuple(RuleKey(self.rule.id, key) for key in self.behind)

    def describe(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "level": self.rule.level,
            "holds": self.holds,
            "behind": list(self.behind),
            "sentence": _SENTENCES[self.holds](rule=self.rule.id, clause=format_clause(self.rule.when)),
        }


def apply_rule(
    site: Site,
    rule: FusionRule,
    standings: Mapping[VoteKey, VoteStatus],
    groups: Groups,
    answered: Mapping[Support, float],
) -> RuleStatus:
    """Judge a rule of a site on how each vote stands.

    Args:
        answered: by rule's vote: data up to this instant were answered by a person.
    """

    def says(leaf: Clause, witness: str) -> bool | None:
        key = VoteKey(leaf.criterion, witness)
        if key not in standings:
            return None
        return standings[key].says(leaf.level, rule.level, answered.get(RuleKey(rule.id, key), float("-inf")))

    def evaluate_leaf(leaf: Clause) -> bool | None:
        votes = {name: says(leaf, name) for name in leaf.witnesses}
        if is_met(site, leaf, [n for n, vote in votes.items() if vote is True], groups):
            return True
        return None if is_met(site, leaf, [n for n, vote in votes.items() if vote is not False], groups) else False

    holds = evaluate_clause(rule.when, evaluate_leaf)
    behind = {
        VoteKey(leaf.criterion, name)
        for leaf in (find_supporting_leaves(rule.when, evaluate_leaf) if holds else ())
        for name in leaf.witnesses
        if says(leaf, name) is True
    }
    return RuleStatus(rule, holds, tuple(sorted(behind)))
