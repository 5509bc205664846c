"""Fuse everything that counts into a requested level, and advance the standing level of the site.

Two levels must be distinguished. The *requested level* is what votes, steps and rules ask for now. The *standing level*
is that of the site, which people see and which is stored in `Memory.level`.

`fuse` computes the requested level. The highest level needs independent witnesses, every lower level one.
`advance_level` computes the new standing level. It rises to the requested level at once, and stays there however long
readings are missing. It falls only when fresh readings of all its *supporters* show that it is over.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from monitor.decision.keys import Supporter
from monitor.decision.records import Memory
from monitor.sites.records import Site


@dataclass(frozen=True, slots=True)
class RequestedLevel:
    """The level that votes, steps and rules request now.

    Attributes:
        lone_top: Stations that request the highest level while too few independent ones do. They count for the next
            lower level, and people are asked to verify at once.
        levels: Level that each of them requests.
    """

    level: int
    lone_top: tuple[str, ...]
    levels: Mapping[Supporter, int]


@dataclass(frozen=True, slots=True)
class LevelState:
    """The standing level after a decision.

    Attributes:
        supporters: What supports the level: each vote, step or rule that requested a level since the level was raised,
            with the highest level that it requested, at most the standing one.
        held_by: Supporters that keep the level from falling, because they are not clear. Empty if the requested level
            itself is as high.
        needs_person: Whether the requested level is lower, and the site file requires a person to lower the level.
    """

    level: int
    supporters: Mapping[Supporter, int]
    held_by: tuple[Supporter, ...]
    needs_person: bool = False


def fuse(site: Site, counted: Mapping[Supporter, int], find_group: Callable[[Supporter], str]) -> RequestedLevel:
    """Return the level that everything that counts requests together.

    Args:
        counted: Level that each vote, step and rule counts for.
        find_group: Return the independence group of a supporter. `top_needs` groups must request the highest level.
    """
    top = site.top_level
    for_top = sorted(key for key, level in counted.items() if level >= top)
    groups = {find_group(key) for key in for_top}
    if len(groups) >= site.fusion.top_needs:
        return RequestedLevel(top, (), counted)
    level = max((min(level, top - 1) for level in counted.values()), default=0)
    lone_stations = tuple(dict.fromkeys(key.station for key in for_top))
    return RequestedLevel(level, lone_stations, counted)


def advance_level(
    site: Site,
    memory: Memory,
    requested: RequestedLevel,
    is_clear: Callable[[Supporter, int], bool],
    *,
    may_fall: bool,
) -> LevelState:
    """Return the standing level after this evaluation.

    The level falls step by step. At each level all supporters that requested it must be clear, and the site file must
    allow that the level falls by itself (`auto_lower`). It never falls below the requested level, or below a level
    that a person has set.

    Args:
        is_clear: (supporter, level) -> whether fresh readings show that the supporter does not request the level.
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
        held_by = tuple(sorted(key for key in supporters_of_level if not is_clear(key, level)))
        needs_person = not site.levels[level].auto_lower
        # Nothing supports a level that a person has set, so no reading can show that it is over.
        if held_by or needs_person or not supporters_of_level or not may_fall:
            break
        level -= 1
        supporters = {key: min(supported_level, level) for key, supported_level in supporters.items() if level > 0}
    return LevelState(level, dict(sorted(supporters.items())), held_by, needs_person)
