"""Remind people of steps of several groups that a confirmed earthquake explains.

An earthquake moves every antenna at once, so such steps do not count while the stations send readings. But the slope
may have moved during the earthquake. If independent stations jumped far enough for one of the two highest levels,
people are therefore notified again at the deadline and after increasing pauses, and an answer that the slope did not
move needs two people.
"""

from typing import Final

from monitor.decision.changes import VERIFY_NOW
from monitor.decision.keys import StepKey
from monitor.decision.records import Condition, Step, Steps
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.step_deadlines import find_answer_time_s
from monitor.decision.series.step_states import EVENT
from monitor.decision.series.steps import SHAKING_S, high_level
from monitor.sites.records import Site
from monitor.sites.witnesses import find_groups
from monitor.text.message import NameList, Template, Term, Timestamp

_SHAKEN: Final = Template(
    "step.earthquake_unanswered",
    "{stations} are independent and jumped during a declared earthquake, by as much as {level} requires. The question "
    "whether the slope moved has been open since {at}. Inspect the slope and answer. Until then the jumps do not "
    "count, unless a station becomes silent",
)
# The longest pause between two reminders of one question.
MAX_PAUSE_S: Final = 7 * 86400.0


def find_shaken(site: Site, steps: Steps) -> list[StepKey]:
    """Return the steps that need a reminder: a confirmed earthquake explains them, and nobody has answered.

    As movement they request one of the two highest levels, and a station of another group jumped at the same time.
    """
    open_steps = [
        (key, step) for key, step in sorted(steps.items()) if step.state == EVENT and step.level >= high_level(site)
    ]
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


def find_next_reminder_s(site: Site, key: StepKey, step: Step, now_s: float) -> float:
    """Return when people are reminded again of an unanswered step during an earthquake, epoch seconds."""
    return step.known_s + find_reminder(now_s - step.known_s, find_answer_time_s(site, key.station))[2]


def find_reminder(waited_s: float, within_s: float) -> tuple[int, float, float]:
    """Return the reminders of an open question: (number sent, seconds to the newest, seconds to the next).

    The first reminder is sent at the deadline. Each further pause is twice as long, up to a week, because people ignore
    frequent repetitions.

    Args:
        waited_s: How long the question has been open, in seconds.
        within_s: Time from the question to its deadline, in seconds.

    >>> [find_reminder(h * 3600.0, 3600.0)[0] for h in (0.5, 1, 1.9, 2, 3, 4, 8, 400, 568)]
    [0, 1, 1, 2, 2, 3, 4, 9, 10]
    """
    count = 0
    newest_s = 0.0
    pause_s = within_s
    while newest_s + pause_s <= waited_s:
        newest_s += pause_s
        count += 1
        pause_s = pause_s if count == 1 else min(2.0 * pause_s, max(MAX_PAUSE_S, within_s))
    return count, newest_s, newest_s + pause_s


def list_reminders(context: DecisionContext, steps: Steps) -> dict[str, Condition]:
    """Return the urgent condition of the newest reminder; empty before the deadline.

    Each reminder has a key of its own, so that people are notified even if they acknowledged the earlier ones.
    """
    site = context.site
    keys = find_shaken(site, steps)
    if not keys:
        return {}
    first = min(keys, key=lambda key: (steps[key].known_s, key))
    count, reminded_s, _ = find_reminder(context.now_s - steps[first].known_s, find_answer_time_s(site, first.station))
    if count < 1:
        return {}
    text = VERIFY_NOW(
        text=_SHAKEN(
            stations=NameList(tuple(dict.fromkeys(key.station for key in keys))),
            level=Term(site.levels[max(steps[key].level for key in keys)].name),
            at=Timestamp(steps[first].known_s, "minute"),
        )
    )
    since_s = steps[first].known_s + reminded_s
    return {f"health:site:shaken_{count}": Condition("health", 2, since_s, text)}
