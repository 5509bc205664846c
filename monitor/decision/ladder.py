"""The ladder of levels: it rises at once, holds without limit, and falls only on fresh word of those who raised it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from monitor.decision.keys import Support
from monitor.decision.records import Memory
from monitor.sites.records import Site

BY_PERSON: Final = "a person must lower it"


@dataclass(frozen=True, slots=True)
class RequestedLevel:
    """The level that the votes of this instant request.

    Attributes:
        lone_top: Stations that ask for the top where too few do; their word is the next lower level and "verify now".
        by_vote: Level asked for by each vote that counts.
    """

    level: int
    lone_top: tuple[str, ...]
    by_vote: Mapping[Support, int]


@dataclass(frozen=True, slots=True)
class LevelState:
    """The level after a decision, the votes that support it, and what keeps it from falling."""

    level: int
    supporters: Mapping[Support, int]
    held_by: tuple[str, ...]


def fuse(site: Site, counted: Mapping[Support, int], group_of: Callable[[Support], str]) -> RequestedLevel:
    """Turn votes into the level asked for: the top needs independent groups, lower levels one witness."""
    top = site.top_level
    tops = sorted(key for key, level in counted.items() if level >= top)
    if len({group_of(key) for key in tops}) >= site.fusion.top_needs:
        return RequestedLevel(top, (), counted)
    level = max((min(v, top - 1) for v in counted.values()), default=0)
    return RequestedLevel(level, tuple(dict.fromkeys(key.station for key in tops)), counted)


def advance_level(
    site: Site, memory: Memory, requested: RequestedLevel, is_clear: Callable[[Support, int], bool], *, may_fall: bool
) -> LevelState:
    """Advance the level: it rises at once and falls only where every vote behind it is clear.

    Args:
        is_clear: (vote, level) -> its witness has fresh data beyond the recovery limit of that level.
        may_fall: False while a backlog drains.
    """
    level = max(memory.level, requested.level)
    supporters = dict(memory.supporters)
    for key, wanted in requested.by_vote.items():
        if min(wanted, level) > 0:
            supporters[key] = max(supporters.get(key, 0), min(wanted, level))
    bottom = max(requested.level, memory.floor)
    held: tuple[str, ...] = ()
    while level > bottom:
        behind = [k for k, v in supporters.items() if v >= level]
        held = tuple(sorted(k for k in behind if not is_clear(k, level)))
        if not site.levels[level].auto_lower:
            held = (*held, BY_PERSON)
        if held or not behind or not may_fall:
            break
        level -= 1
        supporters = {k: min(v, level) for k, v in supporters.items() if min(v, level) > 0}
    return LevelState(level, dict(sorted(supporters.items())), held)
