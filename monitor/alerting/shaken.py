"""Stations of several groups that stepped in a declared earthquake: no level by themselves, and no silence about them.

A declaration comes from one person or one message. It may not put away what two independent witnesses show as one of
the two highest levels, and a real earthquake moves every antenna at once: so nothing counts, somebody is paged anew at
the end of every clock, and the answer needs two people.
"""

from collections.abc import Mapping
from math import floor

from monitor.alerting.assessment import Windows
from monitor.alerting.clocks import clock_s, station_of
from monitor.alerting.steps import EVENT, SHAKING_S
from monitor.domain.decision import Condition, Step, instant
from monitor.domain.instants import spell
from monitor.domain.site import Site
from monitor.domain.witnesses import find_groups


def find_shaken(site: Site, steps: Mapping[str, Step]) -> list[str]:
    """Keys of unanswered steps at an earthquake that another group shares, each for one of the two highest levels."""
    high = max(1, site.top_level - 1)
    found = [(k, s) for k, s in sorted(steps.items()) if s.state == EVENT and s.level >= high]
    if len(found) < 2:
        return []
    groups = find_groups(site)

    def is_shared(key: str, step: Step) -> bool:
        station = station_of(key)
        known = site.station(station)
        near_s = SHAKING_S + 2.0 * max((s.interval_s for s in known.series), default=0.0) if known else SHAKING_S
        return any(
            groups.get(station_of(k)) != groups.get(station) and abs(other.at_s - step.at_s) <= near_s
            for k, other in found
        )

    return [k for k, s in found if is_shared(k, s)]


def next_page_s(site: Site, key: str, step: Step, now_s: float) -> float:
    """When an unanswered step of that kind is paged again: at the end of each further clock."""
    within_s = clock_s(site, station_of(key))
    return step.known_s + within_s * (floor((now_s - step.known_s) / within_s) + 1)


def list_reminders(windows: Windows, steps: Mapping[str, Step]) -> dict[str, Condition]:
    """A new urgent alarm at the end of every clock, also when the questions were acknowledged; none before."""
    site, now_s = windows.site, windows.now_s
    keys = find_shaken(site, steps)
    if not keys:
        return {}
    first = min(keys, key=lambda k: (steps[k].known_s, k))
    within_s = clock_s(site, station_of(first))
    turn = floor((now_s - steps[first].known_s) / within_s)
    if turn < 1:
        return {}
    names = ", ".join(dict.fromkeys(station_of(k) for k in keys))
    text = (
        f"verify now: {names} are independent, stepped at a declared earthquake for "
        f"{site.levels[max(steps[k].level for k in keys)].name}, and nobody has said since "
        f"{spell(instant(steps[first].known_s))} whether the slope moved: look at it; nothing counts without your word"
    )
    since_s = steps[first].known_s + turn * within_s
    return {f"health:site:shaken_{turn}": Condition("health", 2, since_s, text)}
