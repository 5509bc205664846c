"""Compute when a site must be evaluated again although no new data arrived."""

from collections.abc import Iterator

from monitor.decision.conditions import find_review_due_s
from monitor.decision.observability import find_deadline
from monitor.decision.proof import next_proof_s
from monitor.decision.records import Memory
from monitor.decision.series.coseismic_steps import find_next_reminder_s, find_shaken
from monitor.decision.series.step_deadlines import find_answer_time_s
from monitor.decision.series.step_states import PENDING
from monitor.decision.situation import Situation
from monitor.sites.parents import FALL_TOGETHER_S


def find_next_due(situation: Situation, memory: Memory) -> float | None:
    """Return an early instant at which the decision could change without new data, in epoch seconds.

    The evaluation loop evaluates each site at least once in every tick, so these deadlines are left out: of scattering
    series, of steps during an earthquake for criteria on values, of the epoch that must confirm a step, of late
    crossings, and of bounds that an earthquake lowered.

    Args:
        situation: The situation of the site.
        memory: The memory for the next decision.
    """
    now_s = situation.context.now_s
    instants_s = [*_list_deadlines(situation, memory), *_list_silences(situation)]
    return min((instant_s for instant_s in instants_s if instant_s > now_s), default=None)


def _list_deadlines(situation: Situation, memory: Memory) -> Iterator[float]:
    """Yield when votes, questions, maintenance, reviews of bounds and proofs end, in epoch seconds."""
    context = situation.context
    site = situation.site
    for vote in memory.votes.values():
        if vote.level > 0:
            yield vote.valid_until_s
    for key, step in memory.steps.items():
        if step.state == PENDING:
            yield step.known_s + find_answer_time_s(site, key.station)
    for key in find_shaken(site, memory.steps):
        yield find_next_reminder_s(site, key, memory.steps[key], context.now_s)
    for since_s in (*memory.common.values(), *memory.asked.values()):
        yield since_s + site.fusion.verify_within_s
    for maintenance in context.inputs.maintenance:
        yield maintenance.from_s
        yield maintenance.to_s
    for criterion in site.criteria:
        due_s = find_review_due_s(criterion)
        if due_s is not None:
            yield due_s
    yield from next_proof_s(context.inputs.proofs, context.now_s)


def _list_silences(situation: Situation) -> Iterator[float]:
    """Yield the instants at which silence of a series changes the decision, in epoch seconds.

    These are when a series becomes silent, when one alert on all series of shared equipment is sent, when common
    silence is reported, and when people are asked to set a level whose data are missing.
    """
    context = situation.context
    site = situation.site
    yield from situation.observability.silence_due_s
    unseen_since_s = situation.observability.unseen_since_s
    deadlines_s = [find_deadline(context, place, health.newest_s) for place, health in situation.series_health.items()]
    for deadline_s in deadlines_s:
        yield deadline_s
        yield deadline_s + FALL_TOGETHER_S
        yield deadline_s + site.fusion.hold_when_missing_s
    if unseen_since_s is not None:
        yield unseen_since_s + site.fusion.hold_when_missing_s
    for place, default_silence_s in context.prepared.series_with_long_silence:
        newest_s = situation.series_health[place].newest_s
        if newest_s is not None:
            yield newest_s + default_silence_s
