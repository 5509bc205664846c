"""Rules over several criteria: what each asks for now, what it rests on, and whether that can be known at all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.alerting.standing import Standing
from monitor.domain.fusion import Clause, FusionRule, find_behind, judge, spell_clause
from monitor.domain.site import Site
from monitor.domain.witnesses import is_met

RULE: Final = "rule|"  # how the key of a rule's vote begins among those that count


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule says now.

    Attributes:
        rule: The rule.
        holds: True, False, or None where too little is known; None neither raises nor lowers.
        behind: Votes it rests on where it holds, as `criterion|witness`.
    """

    rule: FusionRule
    holds: bool | None
    behind: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """How the ladder names its votes: one for each witness behind it."""
        return tuple(f"{RULE}{self.rule.id}|{key}" for key in self.behind)

    def describe(self) -> dict[str, Any]:
        """As JSON-ready values."""
        word = {True: "holds", False: "does not hold", None: "cannot be judged"}[self.holds]
        return {
            "level": self.rule.level, "holds": self.holds, "behind": list(self.behind),
            "sentence": f"rule {self.rule.id} {word}: {spell_clause(self.rule.when)}",
        }  # fmt: skip


def apply_rules(site: Site, standings: Mapping[str, Standing], groups: Mapping[str, str]) -> tuple[Ruling, ...]:
    """Judge every rule of a site on how each vote stands."""
    found = []
    for rule in site.fusion.rules:
        look = _looker(site, rule, standings, groups)
        holds = judge(rule.when, look)
        behind: dict[str, None] = {}
        if holds:
            for leaf in find_behind(rule.when, look):
                keys = _keys(leaf)
                behind |= dict.fromkeys(k for k in keys if k in standings and standings[k].says(leaf.level, rule.level))
        found.append(Ruling(rule, holds, tuple(sorted(behind))))
    return tuple(found)


def _keys(leaf: Clause) -> Sequence[str]:
    return [f"{leaf.criterion}|{name}" for name in leaf.witnesses]


def _looker(
    site: Site, rule: FusionRule, standings: Mapping[str, Standing], groups: Mapping[str, str]
) -> Callable[[Clause], bool | None]:
    def look(leaf: Clause) -> bool | None:
        said = {
            name: standings[key].says(leaf.level, rule.level) if key in standings else None
            for name, key in zip(leaf.witnesses, _keys(leaf), strict=True)
        }
        if is_met(site, leaf, [n for n, word in said.items() if word is True], groups):
            return True
        return None if is_met(site, leaf, [n for n, word in said.items() if word is not False], groups) else False

    return look


def split_key(key: str) -> tuple[str, str]:
    """(rule, vote behind it) of the key that a rule gives the ladder.

    >>> split_key("rule|wet|velocity-1|G1")
    ('wet', 'velocity-1|G1')
    """
    _, rule, vote = key.split("|", 2)
    return rule, vote
