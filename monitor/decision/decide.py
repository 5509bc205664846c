"""Decide the level of a site at one instant.

The decision is a pure function: the same site file, inputs, memory and instant give the same decision, bit for bit. The
inputs were loaded before (`monitor.alerts.evaluate`). These are the stages of `decide`:

1. prepare: determine the bounds in force, clean the tracks, and assess the health of each series
   (`monitor.decision.prepare`);
2. assess every criterion at every witness;
3. detect sudden steps, and references whose stations move alike;
4. update the votes, and determine the level that each vote counts for;
5. apply the fusion rules, and fuse all votes, steps and rules into the requested level;
6. advance the level: it rises at once, and falls only when all its supporters are clear (`monitor.decision.ladder`);
7. assess observability: which series have usable data, and the highest level that they can raise;
8. list the conditions, describe the evidence, and build the memory for the next decision.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from monitor.decision.common_mode import find_common_motion
from monitor.decision.condition_changes import explain_growth, follow_growth, list_changes
from monitor.decision.conditions import list_conditions
from monitor.decision.criteria.assess import assess_criterion
from monitor.decision.evidence import describe_evidence
from monitor.decision.fusion_rules import RuleStatus, apply_rule
from monitor.decision.headline import list_rates
from monitor.decision.incomplete_series import find_incomplete, measure_coverage, reduce_coverage_of_doubted
from monitor.decision.keys import RuleKey, StepKey, StepVote, Supporter, VoteKey
from monitor.decision.ladder import LevelState, RequestedLevel, advance_level, fuse
from monitor.decision.lost_levels import find_present_reach
from monitor.decision.next_evaluation import find_next_due
from monitor.decision.observability import assess_observability, list_series_behind
from monitor.decision.prepare import PreparedDecision, prepare
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Condition, Decision, DecisionInputs, Memory, Step, Steps, Vote, Votes
from monitor.decision.reference_motion import find_reference_motion, list_incomplete_references
from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext, EvaluationCache
from monitor.decision.series.maintenance import MaintenanceMask
from monitor.decision.series.neighbours import NeighbourCheck, check_neighbours
from monitor.decision.series.paired_steps import CommonDisturbance, find_disturbed
from monitor.decision.series.station_health import CANNOT_SHOW_REST, SICK, SeriesHealthMap, mark_unexplained
from monitor.decision.series.step_states import ACTIVE, MOVEMENT, denies_movement
from monitor.decision.series.steps import find_step_candidates, requested_level, update_steps
from monitor.decision.situation import CommonMotion, Situation
from monitor.decision.unsigned import keep_higher
from monitor.decision.vote_status import VoteStatus, classify_votes, hold_scattering
from monitor.decision.votes import (
    REFERENCE,
    find_questions_of_lasting_motion,
    keep_answers,
    keep_signatures,
    update_answers,
    update_votes,
)
from monitor.readings.no_value import AT_STOP
from monitor.sites.parents import Place
from monitor.text.instants import epoch_s, from_epoch_s
from monitor.text.message import Message, Template, Term

_INSTRUMENT_FAULT: Final = Template(
    "vote.instrument_fault", "the vote of {station} does not count, because {quantity} is {state}: {text}"
)
_MOVE_ALIKE: Final = Template(
    "vote.move_alike", "all stations measured against {reference} move alike, so the reference may have moved"
)


def decide(
    prepared: PreparedSite,
    memory: Memory,
    inputs: DecisionInputs,
    now: datetime,
    cache: EvaluationCache | None = None,
) -> Decision:
    """Decide the level of a site at one instant.

    Args:
        prepared: The site, as its file declares it.
        memory: The memory that the previous decision returned.
        inputs: Readings and facts as known at `now`.
        cache: Tracks and sums of earlier decisions with the same site file. They save time, and change no result.

    Returns:
        The decision. The same arguments give the same canonical JSON, bit for bit.
    """
    situation = compute_situation(prepare(prepared, inputs, memory, epoch_s(now), cache))
    newest_s = _find_newest(inputs, situation.context.now_s, memory.newest_s)
    next_memory = build_memory(situation, newest_s)
    evidence = describe_evidence(situation, next_memory, now)
    rates = tuple(list_rates(evidence, situation.site))
    reported, grown_rate = follow_growth(situation.before, next_memory.level, rates)
    next_memory = replace(next_memory, reported=reported)
    growth = None
    if grown_rate is not None:
        growth = explain_growth(evidence["sentence"], grown_rate, situation.before.reported)
    observability = situation.observability
    return Decision(
        memory=next_memory,
        level=next_memory.level,
        observability=observability.state,
        reachable_level=observability.reachable_level,
        witnesses_available=observability.top_group_count,
        health=situation.healths,
        changes=list_changes(prepared.site, situation.before, next_memory, evidence, newest_s, growth),
        evidence=evidence,
        rates=rates,
        newest_at=None if newest_s is None else from_epoch_s(_find_newest_of_slope(situation, newest_s)),
        next_due_s=find_next_due(situation, next_memory),
    )


def compute_situation(preparation: PreparedDecision) -> Situation:
    """Compute the situation of a site: criteria, steps, votes, rules, level and observability."""
    assessments, signed_assessments = assess_criteria(preparation)
    step_update = detect_steps(preparation, signed_assessments)
    steps = step_update.steps
    vote_count = count_votes(preparation, assessments, signed_assessments, step_update)
    context = vote_count.context

    covered_steps = find_covered_steps(steps, preparation.masks)
    rules = apply_rules(context, vote_count.statuses)
    requested_levels = gather_requested_levels(context, vote_count.statuses, steps, covered_steps, rules)
    requested = fuse(context.site, requested_levels, context.prepared.groups)
    level_state = compute_level_state(vote_count, steps, rules, requested)

    moving_references = find_reference_motion(context, vote_count.assessments, steps)
    reach = find_present_reach(context)
    incomplete = find_incomplete(
        context,
        vote_count.assessments,
        steps,
        vote_count.statuses,
        preparation.masks,
        preparation.series_health,
        reach,
    )
    incomplete |= list_incomplete_references(moving_references)
    observability = assess_observability(
        context, level_state, preparation.series_health, steps, incomplete, vote_count.assessments, reach
    )
    return Situation(
        context=context,
        factor=preparation.factor,
        # For the evidence only: the votes are updated already, and open questions do not change freshness.
        assessments=reduce_coverage_of_doubted(context.prepared, vote_count.assessments, incomplete, context.now_s),
        steps=steps,
        disturbed=step_update.disturbed,
        instrument_conditions={**preparation.instrument_conditions, **vote_count.scattering},
        healths=mark_unexplained(context.prepared, preparation.healths, preparation.series_health, steps),
        series_health=preparation.series_health,
        common=vote_count.common,
        neighbours=vote_count.neighbours,
        votes=vote_count.votes,
        vote_statuses=vote_count.statuses,
        covered=covered_steps,
        rule_statuses=rules,
        requested_levels=requested_levels,
        requested=requested,
        level_state=level_state,
        observability=observability,
        moving_references=moving_references,
        correction_questions=preparation.correction_questions,
    )


# ---- criteria --------------------------------------------------------------------------------------------------
def assess_criteria(preparation: PreparedDecision) -> tuple[list[Assessment], list[Assessment]]:
    """Assess every criterion at every witness.

    Returns:
        The assessments that count for votes, and the assessments of signed values alone. They differ if there are
        unsigned corrections, which may raise a level but not lower it.
    """
    signed = _assess_all(preparation.context)
    merged = signed
    if preparation.with_unsigned is not None:
        merged = keep_higher(signed, _assess_all(preparation.with_unsigned))
    return _prevent_lowering_without_rest(preparation.context.prepared, merged, preparation.series_health), signed


def _assess_all(context: DecisionContext) -> list[Assessment]:
    assessments = [
        assessment for criterion in context.site.criteria for assessment in assess_criterion(criterion, context)
    ]
    return measure_coverage(context, assessments)


def _prevent_lowering_without_rest(
    prepared: PreparedSite, assessments: Assessments, series_health: SeriesHealthMap
) -> list[Assessment]:
    """Mark assessments of series that cannot show rest as not fresh, so that they lower no vote.

    Motion that such a series shows still counts. A series whose last digit is too coarse for a rate still shows whether
    its values exceed a bound on values.
    """
    states = {place: health.state for place, health in series_health.items() if health.state in CANNOT_SHOW_REST}
    if not states:
        return list(assessments)
    criteria_on_values = {criterion.id for criterion in prepared.site.criteria if criterion.kind.is_level}

    def cannot_show_rest(assessment: Assessment) -> bool:
        return any(
            place in states and (states[place] == AT_STOP or assessment.criterion not in criteria_on_values)
            for place in list_series_behind(prepared, assessment.key)
        )

    marked = []
    for assessment in assessments:
        if cannot_show_rest(assessment):
            has_data = assessment.has_data and assessment.raise_level > 0
            marked.append(replace(assessment, fresh=False, has_data=has_data))
        else:
            marked.append(assessment)
    return marked


# ---- steps -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StepUpdate:
    """Sudden steps after this evaluation, and references whose stations move alike.

    Attributes:
        steps: All steps.
        disturbed: Pending steps with simultaneous pending steps of independent stations, and conditions about stations
            that jumped together.
        stations_alike: Stations that move alike, by reference.
        sentences: Descriptions of this motion for people, by reference.
    """

    steps: dict[StepKey, Step]
    disturbed: CommonDisturbance
    stations_alike: Mapping[str, Sequence[str]]
    sentences: Mapping[str, Message]


def detect_steps(preparation: PreparedDecision, signed_assessments: Assessments) -> StepUpdate:
    """Detect jumps in the cleaned tracks, and update the steps of the memory."""
    context = preparation.context
    candidates = find_step_candidates(context, preparation.step_tracks)
    stations_alike, sentences = find_common_motion(context, signed_assessments, candidates)
    alike = [station for stations in stations_alike.values() for station in stations]
    steps = update_steps(context, candidates, preparation.tracks, alike)
    disturbed = find_disturbed(context, steps, preparation.tracks, alike)
    return StepUpdate(steps, disturbed, stations_alike, sentences)


def find_covered_steps(steps: Steps, masks: Mapping[str, MaintenanceMask]) -> dict[StepKey, Message]:
    """Return the steps of stations under maintenance that request at most the excluded level, with the reason.

    Steps that request no level at present are included.
    """
    covered: dict[StepKey, Message] = {}
    for key, step in steps.items():
        mask = masks.get(key.station)
        if mask is not None and requested_level(step) <= mask.limit:
            covered[key] = mask.reason
    return covered


# ---- votes -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class VoteCount:
    """The votes after this evaluation, and the level that each counts for.

    Attributes:
        context: The context. Answers that the motion has exceeded since are removed from its memory.
        assessments: The assessments. Those of series that scatter too much keep the previous level.
        scattering: Conditions of series that scatter too much, by alert key.
        votes: The votes of all witnesses.
        statuses: The status of every vote.
        common: References whose stations move alike.
        neighbours: Votes that neighbouring stations do not confirm.
        fresh: Keys of the votes whose witnesses have fresh data.
    """

    context: DecisionContext
    assessments: Assessments
    scattering: Mapping[str, Condition]
    votes: dict[VoteKey, Vote]
    statuses: Mapping[VoteKey, VoteStatus]
    common: CommonMotion
    neighbours: NeighbourCheck
    fresh: set[VoteKey]


def count_votes(
    preparation: PreparedDecision,
    assessments: Assessments,
    signed_assessments: Assessments,
    step_update: StepUpdate,
) -> VoteCount:
    """Update the votes of all witnesses, and determine the level that each counts for.

    A vote may not count because of a faulty instrument, a reference under suspicion, its neighbours or maintenance.
    """
    context = preparation.context
    now_s = context.now_s
    series_health = preparation.series_health
    scattering_series = _find_scattering_series(context.prepared, assessments, series_health)
    assessments, scattering = hold_scattering(context, assessments, scattering_series, series_health)
    votes = update_votes(context, assessments, step_update.steps)
    memory = update_answers(context, votes, step_update.steps)
    if memory is not context.memory:
        context = replace(context, memory=memory)
    since_s = {reference: memory.common.get(reference, now_s) for reference in step_update.stations_alike}
    common = CommonMotion(step_update.stations_alike, since_s, step_update.sentences)
    suspects = find_suspects(context, common)
    set_aside_reasons = find_set_aside_reasons(context.prepared, votes, series_health, suspects)
    neighbours = check_neighbours(context, signed_assessments, votes, set_aside_reasons, preparation.masks)
    fresh = {assessment.key for assessment in assessments if assessment.has_data and assessment.fresh}
    return VoteCount(
        context=context,
        assessments=assessments,
        scattering=scattering,
        votes=votes,
        statuses=classify_votes(votes, set_aside_reasons, neighbours.caps, preparation.masks, fresh, now_s),
        common=common,
        neighbours=neighbours,
        fresh=fresh,
    )


def _find_scattering_series(
    prepared: PreparedSite, assessments: Assessments, series_health: SeriesHealthMap
) -> dict[VoteKey, Place]:
    """Return the votes that depend on a series with much more scatter than usual, each with that series."""
    bursts = {place for place, health in series_health.items() if health.burst_reason}
    if not bursts:
        return {}
    return {
        assessment.key: place
        for assessment in assessments
        for place in list_series_behind(prepared, assessment.key)
        if place in bursts
    }


def find_set_aside_reasons(
    prepared: PreparedSite,
    votes: Votes,
    series_health: SeriesHealthMap,
    suspects: Mapping[str, Message],
) -> dict[VoteKey, Message]:
    """Return the votes that are set aside, with the reason: a faulty instrument, or a reference under suspicion."""
    reasons: dict[VoteKey, Message] = {}
    for key, vote in votes.items():
        if vote.level == 0:
            continue
        places = [place for place in list_series_behind(prepared, key) if place in series_health]
        faulty = next((place for place in places if series_health[place].state in SICK), None)
        if faulty is not None:
            health = series_health[faulty]
            reasons[key] = _INSTRUMENT_FAULT(
                station=key.station, state=Term(health.state), quantity=Term(faulty[1]), text=health.reason
            )
        elif key.station in suspects and prepared.voting_criteria[key.criterion].kind.motion:
            reasons[key] = suspects[key.station]
    return reasons


def find_suspects(context: DecisionContext, common: CommonMotion) -> dict[str, Message]:
    """Return the stations whose reference is under suspicion, with the reason.

    The suspicion ends at its deadline, or when a person answers that the slope moved. An answer that the slope did not
    move keeps the suspicion after the deadline.
    """
    suspects: dict[str, Message] = {}
    for reference, stations in common.stations.items():
        answer = context.memory.answers.get(f"{REFERENCE}{reference}")
        deadline_s = common.since_s[reference] + context.site.fusion.verify_within_s
        if denies_movement(answer) or (context.now_s < deadline_s and answer != MOVEMENT):
            suspects |= dict.fromkeys(stations, _MOVE_ALIKE(reference=reference))
    return suspects


# ---- fusion ----------------------------------------------------------------------------------------------------
def apply_rules(context: DecisionContext, statuses: Mapping[VoteKey, VoteStatus]) -> tuple[RuleStatus, ...]:
    """Apply the fusion rules over several criteria to the votes."""
    return tuple(apply_rule(context, rule, statuses) for rule in context.site.fusion.rules)


def gather_requested_levels(
    context: DecisionContext,
    statuses: Mapping[VoteKey, VoteStatus],
    steps: Steps,
    covered_steps: Collection[StepKey],
    rules: Sequence[RuleStatus],
) -> dict[Supporter, int]:
    """Return the level that each vote, step and fusion rule requests now. Those that do not count are left out."""
    requested_levels: dict[Supporter, int] = {}
    for vote_key, status in statuses.items():
        if status.counted_level > 0 and vote_key.criterion in context.prepared.witness_criteria:
            requested_levels[vote_key] = status.counted_level
    for step_key, step in steps.items():
        if step.state in ACTIVE and step_key not in covered_steps:
            requested_levels[StepVote(step_key)] = requested_level(step)
    for rule in rules:
        for rule_key in rule.keys:
            requested_levels[rule_key] = rule.rule.level
    return requested_levels


# ---- level -----------------------------------------------------------------------------------------------------
def compute_level_state(
    vote_count: VoteCount, steps: Steps, rules: Sequence[RuleStatus], requested: RequestedLevel
) -> LevelState:
    """Return the level after this evaluation. It does not fall while a backlog of readings is stored."""
    limited = {key for key, status in vote_count.statuses.items() if status.limit_reason is not None}

    def no_longer_requests(key: Supporter, level: int) -> bool:
        if isinstance(key, RuleKey):
            return any(status.rule.id == key.rule and status.holds is False for status in rules)
        if isinstance(key, StepVote):
            return no_longer_requests_as_step(steps.get(key.step), level)
        return no_longer_requests_as_vote(key, level, vote_count.votes, vote_count.fresh, limited)

    context = vote_count.context
    may_fall = not context.inputs.draining
    return advance_level(context.site, context.memory, requested, no_longer_requests, may_fall=may_fall)


def no_longer_requests_as_step(step: Step | None, level: int) -> bool:
    """Return whether a step no longer requests a level. A removed step requests none."""
    return step is None or requested_level(step) < level


def no_longer_requests_as_vote(
    key: VoteKey, level: int, votes: Votes, fresh: Collection[VoteKey], limited: Collection[VoteKey]
) -> bool:
    """Return whether a vote no longer requests a level, according to fresh data.

    Args:
        key: Key of the vote.
        level: The level.
        votes: The votes after this evaluation.
        fresh: Votes whose witness has fresh data.
        limited: Votes that do not count in full. They show nothing.
    """
    vote = votes.get(key)
    return vote is not None and key in fresh and key not in limited and vote.level < level


# ---- memory ----------------------------------------------------------------------------------------------------
def build_memory(situation: Situation, newest_s: float | None) -> Memory:
    """Return the memory for the next decision.

    Args:
        situation: The situation of the site.
        newest_s: Newest epoch that the site had received, whatever its quality, in epoch seconds.
    """
    before = situation.before
    now_s = situation.context.now_s
    observability = situation.observability
    steps = situation.steps
    level = situation.level_state.level
    has_changed = level != before.level
    common_since_s = situation.common.since_s
    asked_since_s = situation.neighbours.open_since_s
    needed_questions = _list_needed_questions(situation)
    answers = keep_answers(before.answers, needed_questions, now_s)
    return Memory(
        started_s=before.started_s,
        level=level,
        level_source="auto" if has_changed else before.level_source,
        since_s=now_s if has_changed else before.since_s,
        floor=before.floor,
        votes=dict(sorted(situation.votes.items())),
        supporters=situation.level_state.supporters,
        answered=before.answered,
        steps=steps,
        answers=answers,
        common=dict(sorted(common_since_s.items())),
        conditions=list_conditions(situation),
        observability=observability.state,
        reachable_level=observability.reachable_level,
        newest_s=newest_s,
        seen_s=now_s,
        asked=dict(sorted(asked_since_s.items())),
        heights=_keep_levels_of_questions(before, {*answers, *needed_questions}),
        signed=keep_signatures(before, {*steps, *needed_questions}),
        unheard=observability.unheard,
        held=observability.held,
        incomplete=observability.reasons,
        receptions=situation.context.list_remembered_receptions(),
        outside=observability.outside,
    )


def _keep_levels_of_questions(before: Memory, questions: Collection[str]) -> dict[str, int]:
    """Return the stored levels of some questions, sorted by question."""
    return {question: level for question, level in sorted(before.heights.items()) if question in questions}


def _list_needed_questions(situation: Situation) -> set[str]:
    """Return the questions whose answers and levels must be kept: open ones, and those whose motion continues.

    Questions about steps are not included.
    """
    before = situation.before
    questions = {f"{REFERENCE}{reference}" for reference in situation.common.since_s}
    questions |= {*situation.neighbours.open_since_s, *situation.correction_questions}
    # This needs a fit for each station, so it is done only if there are answers or signatures to keep.
    if before.answers or before.heights or before.signed:
        questions |= find_questions_of_lasting_motion(
            situation.site, situation.assessments, situation.votes, situation.context.now_s
        )
    return questions


def _find_newest(inputs: DecisionInputs, now_s: float, before_s: float | None) -> float | None:
    """Return the newest received epoch up to now, in epoch seconds; that of earlier decisions if there is none."""
    epochs_s = [newest.observed_s for newest in inputs.newest.values() if newest.observed_s <= now_s]
    return max(epochs_s, default=before_s)


def _find_newest_of_slope(situation: Situation, newest_s: float) -> float:
    """Return the newest epoch of the series that measure the motion of the slope, in epoch seconds.

    Rain gauges and control stations still send data after the slope has destroyed its own instruments. If no motion
    series has data, return the newest epoch of all series.
    """
    epochs_s = [
        situation.series_health[place].newest_s for place in situation.context.prepared.instrument_motion_series
    ]
    return max((epoch_s for epoch_s in epochs_s if epoch_s is not None), default=newest_s)
