"""When a site has to be evaluated again although no new datum arrived."""

from collections.abc import Iterator, Sequence

from monitor.decision.conditions import review_due_s
from monitor.decision.observability import find_deadline
from monitor.decision.proof import next_proof_s
from monitor.decision.records import Memory
from monitor.decision.series.coseismic_steps import find_shaken, next_page_s
from monitor.decision.series.step_deadlines import find_answer_time_s
from monitor.decision.situation import Situation
from monitor.sites.parents import DEFAULT_SILENCE_INTERVALS, FALL_TOGETHER_S, Place, list_children
from monitor.sites.records import Site, once_per_record


def find_next_due(situation: Situation, memory: Memory) -> float | None:
    """Return the next instant at which the decision could change without a new datum, in epoch seconds.

    Args:
        memory: What this decision leaves to the next one.
    """
    now_s = situation.context.now_s
    instants_s = [*_list_clocks(situation, memory), *_list_silences(situation)]
    return min((instant_s for instant_s in instants_s if instant_s > now_s), default=None)


def _list_clocks(situation: Situation, memory: Memory) -> Iterator[float]:
    """Yield the ends of votes, of questions, of maintenance, of reviews and of proofs."""
    context, site = situation.context, situation.site
    for vote in memory.votes.values():
        if vote.level > 0:
            yield vote.valid_until_s
    for key, step in memory.steps.items():
        if step.state == "pending":
            yield step.known_s + find_answer_time_s(site, key.station)
    for key in find_shaken(site, memory.steps):
        yield next_page_s(site, key, memory.steps[key], context.now_s)
    for since_s in (*memory.common.values(), *memory.asked.values()):
        yield since_s + site.fusion.verify_within_s
    for maintenance in context.inputs.maintenance:
        yield maintenance.from_s
        yield maintenance.to_s
    for criterion in site.criteria:
        due_s = review_due_s(criterion)
        if due_s is not None:
            yield due_s
    yield from next_proof_s(context.inputs.proofs, context.now_s)


def _list_silences(situation: Situation) -> Iterator[float]:
    """Yield when series become silent, when silent neighbours are notified together, and when a level is not held."""
    context, site = situation.context, situation.site
    unseen_since_s = situation.observability.unseen_since_s
    deadlines_s = [find_deadline(context, place, health.newest_s) for place, health in situation.series_health.items()]
    for deadline_s in deadlines_s:
        yield deadline_s
        yield deadline_s + FALL_TOGETHER_S
        yield deadline_s + site.fusion.hold_when_missing_s
    if unseen_since_s is not None:
        yield unseen_since_s + site.fusion.hold_when_missing_s
    for place, gone_s in _list_patient(site):
        newest_s = situation.series_health[place].newest_s
        if newest_s is not None:
            yield newest_s + gone_s


@once_per_record
def _list_patient(site: Site) -> Sequence[tuple[Place, float]]:
    """Return the series with neighbours that may be silent for longer than their default, with that default in s."""
    places = {place for places in list_children(site).values() for place in places}
    specs = [(place, spec) for place in sorted(places) if (spec := site.series(*place)) is not None]
    return [
        (place, DEFAULT_SILENCE_INTERVALS * spec.interval_s)
        for place, spec in specs
        if spec.max_silence_s > DEFAULT_SILENCE_INTERVALS * spec.interval_s
    ]
