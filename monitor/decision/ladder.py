"""Fuse everything that counts into the requested level, and advance the standing level of the site.

Two levels must be distinguished. The *requested level* is the level that votes, steps and rules request together now.
The *standing level* is the level of the site, which people see and which is stored in `Memory.level`.

`fuse` computes the requested level. The highest level needs independent witnesses, every lower level only one witness.
`advance_level` computes the new standing level. It rises to the requested level at once, and does not fall because
readings are missing. It falls when all its *supporters* are clear: fresh readings of a vote show less, a step does not
count any more, or a rule does not hold. A person can also set it (`monitor.alerts.acts.operator_acts`). Where
accounts exist, two people are needed for a level below one of the two highest levels that stands or is requested.
Setting a lower level lowers the votes, answers the steps that request more with `instrument`, and stores in
`Memory.answered` up to which reading each vote is answered.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from monitor.decision.keys import Supporter
from monitor.decision.records import Memory
from monitor.sites.records import Site
from monitor.sites.witnesses import Groups


@dataclass(frozen=True, slots=True)
class RequestedLevel:
    """The level that votes, steps and rules request now.

    Attributes:
        level: The requested level.
        lone_top: Witnesses that request the highest level while too few independent witnesses do. They count for the
            next lower level, and people are asked to verify at once.
        levels: Level that each vote, step and rule requests. Those that do not count are left out.
    """

    level: int
    lone_top: tuple[str, ...]
    levels: Mapping[Supporter, int]


@dataclass(frozen=True, slots=True)
class LevelState:
    """The standing level after a decision.

    Attributes:
        level: The standing level.
        supporters: Each vote, step or rule that requested a level since the level was last the lowest, with the highest
            level that it requested, at most the standing level.
        held_by: Supporters that keep the level from falling, because they are not clear. Empty if the requested level
            itself is as high.
        needs_person: Whether the requested level is lower, and the site file requires a person to lower the level.
    """

    level: int
    supporters: Mapping[Supporter, int]
    held_by: tuple[Supporter, ...]
    needs_person: bool = False


def fuse(site: Site, requested_levels: Mapping[Supporter, int], groups: Groups) -> RequestedLevel:
    """Return the level that votes, steps and rules request together.

    Args:
        site: The site. `fusion.top_needs` independent groups must request the highest level.
        requested_levels: Level that each vote, step and rule requests. Those that do not count are left out.
        groups: Independence group of each witness. A witness that is missing is a group of its own.
    """
    top = site.top_level
    witnesses = [key.station for key in sorted(key for key, level in requested_levels.items() if level >= top)]
    independent_groups = {groups.get(witness, witness) for witness in witnesses}
    if len(independent_groups) >= site.fusion.top_needs:
        return RequestedLevel(top, (), requested_levels)
    level = max((min(level, top - 1) for level in requested_levels.values()), default=0)
    return RequestedLevel(level, tuple(dict.fromkeys(witnesses)), requested_levels)


def advance_level(
    site: Site,
    memory: Memory,
    requested: RequestedLevel,
    no_longer_requests: Callable[[Supporter, int], bool],
    *,
    may_fall: bool,
) -> LevelState:
    """Return the standing level after this evaluation.

    The level falls step by step. At each level all supporters that requested it must be clear, and the site file must
    allow that the level falls by itself (`auto_lower`). It never falls below the requested level, or below a level
    that a person has set.

    Args:
        site: The site.
        memory: The memory of the previous decision.
        requested: The level that votes, steps and rules request now.
        no_longer_requests: Takes a supporter and a level. Returns whether it is certain that the supporter does not
            request the level any more.
        may_fall: False while a backlog of readings is stored.
    """
    level = max(memory.level, requested.level)
    supporters = dict(memory.supporters)
    for key, requested_level in requested.levels.items():
        supported_level = min(requested_level, level)
        if supported_level > 0:
            supporters[key] = max(supporters.get(key, 0), supported_level)
    lowest_level = max(requested.level, memory.floor)
    held_by: tuple[Supporter, ...] = ()
    needs_person = False
    while level > lowest_level:
        supporters_of_level = [key for key, supported_level in supporters.items() if supported_level >= level]
        held_by = tuple(sorted(key for key in supporters_of_level if not no_longer_requests(key, level)))
        needs_person = not site.levels[level].auto_lower
        # Nothing supports a level that a person has set, so no reading can lower it.
        if held_by or needs_person or not supporters_of_level or not may_fall:
            break
        level -= 1
        if level > 0:
            supporters = {key: min(supported_level, level) for key, supported_level in supporters.items()}
        else:
            supporters = {}
    return LevelState(level, dict(sorted(supporters.items())), held_by, needs_person)
