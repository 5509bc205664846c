"""Remind people of steps of several groups during a declared earthquake.

A real earthquake moves every antenna at once, so these steps raise no level by themselves. But a declaration comes from
one person or one message, and must not suppress what two independent witnesses show for one of the two highest levels.
Somebody is therefore notified again at the deadline and after increasing pauses, and the answer needs two people.
"""

from typing import Final

from monitor.decision.keys import StepKey
from monitor.decision.records import Condition, Step, Steps
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.step_deadlines import find_answer_time_s
from monitor.decision.series.step_states import EVENT
from monitor.decision.series.steps import SHAKING_S
from monitor.sites.records import Site
from monitor.sites.witnesses import find_groups
from monitor.text.message import NameList, Template, Term, Timestamp

VERIFY_NOW: Final = Template("question.verify", "verify now: {text}")
_SHAKEN: Final = Template(
    "step.earthquake_unanswered",
    "{stations} are independent and jumped during a declared earthquake, by as much as {level} requires. The question "
    "whether the slope moved has been open since {at}. Inspect the slope and answer: until then the jumps count for "
    "nothing",
)
# The longest pause between two notifications about one question.
WEEK_S: Final = 7 * 86400.0


def find_shaken(site: Site, steps: Steps) -> list[StepKey]:
    """Return the unanswered steps for a high level during an earthquake that another group shares."""
    high = max(1, site.top_level - 1)
    open_steps = [(k, step) for k, step in sorted(steps.items()) if step.state == EVENT and step.level >= high]
    if len(open_steps) < 2:
        return []
    groups = find_groups(site)

    def is_shared(key: StepKey, step: Step) -> bool:
        declared = site.station(key.station)
        series = declared.series if declared else ()
        within_s = SHAKING_S + 2.0 * max((spec.interval_s for spec in series), default=0.0)
        for other_key, other in open_steps:
            if groups.get(other_key.station) != groups.get(key.station) and abs(other.at_s - step.at_s) <= within_s:
                return True
        return False

    return [key for key, step in open_steps if is_shared(key, step)]


def next_page_s(site: Site, key: StepKey, step: Step, now_s: float) -> float:
    """Return when people are notified again of an unanswered step during an earthquake, epoch seconds."""
    return step.known_s + find_reminder(now_s - step.known_s, find_answer_time_s(site, key.station))[2]


def find_reminder(waited_s: float, within_s: float) -> tuple[int, float, float]:
    """Return the reminders of an open question: (number sent, seconds to the newest, seconds to the next).

    The first reminder is sent at the deadline. Each further pause is twice as long, up to a week: the question is not
    forgotten, and frequent repetition does not make people ignore it.

    Args:
        waited_s: Since when the question is open.
        within_s: Time until the deadline.

    >>> [find_reminder(h * 3600.0, 3600.0)[0] for h in (0.5, 1, 1.9, 2, 3, 4, 8, 400, 568)]
    [0, 1, 1, 2, 2, 3, 4, 9, 10]
    """
    turn = 0
    at_s = 0.0
    pause_s = within_s
    while at_s + pause_s <= waited_s:
        at_s += pause_s
        turn += 1
        pause_s = pause_s if turn == 1 else min(2.0 * pause_s, max(WEEK_S, within_s))
    return turn, at_s, at_s + pause_s


def list_reminders(context: DecisionContext, steps: Steps) -> dict[str, Condition]:
    """Return a new urgent alarm for each reminder, even if the questions are acknowledged; none before the deadline."""
    site = context.site
    keys = find_shaken(site, steps)
    if not keys:
        return {}
    first = min(keys, key=lambda k: (steps[k].known_s, k))
    turn, waited_s, _ = find_reminder(context.now_s - steps[first].known_s, find_answer_time_s(site, first.station))
    if turn < 1:
        return {}
    text = VERIFY_NOW(
        text=_SHAKEN(
            stations=NameList(tuple(dict.fromkeys(k.station for k in keys))),
            level=Term(site.levels[max(steps[k].level for k in keys)].name),
            at=Timestamp(steps[first].known_s, "minute"),
        )
    )
    since_s = steps[first].known_s + waited_s
    return {f"health:site:shaken_{turn}": Condition("health", 2, since_s, text)}
