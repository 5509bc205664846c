"""Stations of several groups that stepped in a declared earthquake: no level by themselves, and no silence about them.

A declaration comes from one person or one message. It may not put away what two independent witnesses show as one of
the two highest levels, and a real earthquake moves every antenna at once: so nothing counts, somebody is paged anew at
the end of the clock and after each further time that is twice as long, and the answer needs two people.
"""

from typing import Final

from monitor.decision.keys import StepKey
from monitor.decision.records import Condition, Step, Steps
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.step_clocks import clock_s
from monitor.decision.series.steps import EVENT, SHAKING_S
from monitor.sites.records import Site
from monitor.sites.witnesses import find_groups
from monitor.text.message import NameList, Template, Term, Timestamp

VERIFY: Final = Template("question.verify", "verify now: {text}")
_SHAKEN: Final = Template(
    "step.shaken",
    "{stations} are independent, stepped at a declared earthquake for {level}, and nobody has said since {at} whether "
    "the slope moved: look at it; nothing counts without your word",
)
WEEK_S: Final = 7 * 86400.0  # the longest pause between two pages about one question


def find_shaken(site: Site, steps: Steps) -> list[StepKey]:
    """Keys of unanswered steps at an earthquake that another group shares, each for one of the two highest levels."""
    high = max(1, site.top_level - 1)
    found = [(k, s) for k, s in sorted(steps.items()) if s.state == EVENT and s.level >= high]
    if len(found) < 2:
        return []
    groups = find_groups(site)

    def is_shared(key: StepKey, step: Step) -> bool:
        station = key.station
        known = site.station(station)
        near_s = SHAKING_S + 2.0 * max((s.interval_s for s in known.series), default=0.0) if known else SHAKING_S
        return any(
            groups.get(k.station) != groups.get(station) and abs(other.at_s - step.at_s) <= near_s for k, other in found
        )

    return [k for k, s in found if is_shared(k, s)]


def next_page_s(site: Site, key: StepKey, step: Step, now_s: float) -> float:
    """When an unanswered step of that kind is paged again."""
    return step.known_s + find_turn(now_s - step.known_s, clock_s(site, key.station))[2]


def find_turn(waited_s: float, within_s: float) -> tuple[int, float, float]:
    """How often a question was paged anew, and when: (turns, seconds to the newest, seconds to the next).

    At the end of the clock, then each time after twice as long a pause, and at least once a week: what nobody answers
    is not forgotten, and does not teach people to ignore it.

    >>> [find_turn(h * 3600.0, 3600.0)[0] for h in (0.5, 1, 1.9, 2, 3, 4, 8, 400, 568)]
    [0, 1, 1, 2, 2, 3, 4, 9, 10]
    """
    turn, at_s, pause_s = 0, 0.0, within_s
    while at_s + pause_s <= waited_s:
        at_s += pause_s
        turn += 1
        pause_s = pause_s if turn == 1 else min(2.0 * pause_s, max(WEEK_S, within_s))
    return turn, at_s, at_s + pause_s


def list_reminders(context: DecisionContext, steps: Steps) -> dict[str, Condition]:
    """A new urgent alarm at each turn, also when the questions were acknowledged; none before the clock is over."""
    site, now_s = context.site, context.now_s
    keys = find_shaken(site, steps)
    if not keys:
        return {}
    first = min(keys, key=lambda k: (steps[k].known_s, k))
    turn, waited_s, _ = find_turn(now_s - steps[first].known_s, clock_s(site, first.station))
    if turn < 1:
        return {}
    text = VERIFY(
        text=_SHAKEN(
            stations=NameList(tuple(dict.fromkeys(k.station for k in keys))),
            level=Term(site.levels[max(steps[k].level for k in keys)].name),
            at=Timestamp(steps[first].known_s),
        )
    )
    since_s = steps[first].known_s + waited_s
    return {f"health:site:shaken_{turn}": Condition("health", 2, since_s, text)}
