"""Decide the level of a site from what is known at one instant.

The decision is a pure function: the same site file, inputs, memory and instant give the same decision, bit for bit. Its
steps, in the order in which `compute_situation` takes them:

1. prepare: bounds in force, cleaned tracks, health of each series (`monitor.decision.prepare`);
2. assess every criterion at every station;
3. follow sudden steps, and references whose stations move alike;
4. update the votes, and find out what each vote counts for;
5. apply the rules over several criteria, and fuse everything that counts into the requested level;
6. advance the ladder, which rises at once and falls only on fresh evidence;
7. compute observability: what the site sees, and the highest level that it can reach;
8. list conditions, describe the evidence, and build the memory for the next decision.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from monitor.decision.common_mode import find_common_motion
from monitor.decision.conditions import explain_growth, follow_growth, list_changes, list_conditions
from monitor.decision.criteria.assess import assess_criterion
from monitor.decision.evidence import describe_evidence
from monitor.decision.fusion_rules import RuleStatus, apply_rule
from monitor.decision.headline import list_rates
from monitor.decision.incomplete_series import doubt_assessments, find_incomplete, measure_coverage
from monitor.decision.keys import RuleKey, StepKey, StepVote, Supporter, VoteKey
from monitor.decision.ladder import LevelState, RequestedLevel, advance_level, fuse
from monitor.decision.lost_levels import find_present_reach
from monitor.decision.next_evaluation import find_next_due
from monitor.decision.observability import assess_observability, list_series_behind
from monitor.decision.prepare import PreparedDecision, prepare
from monitor.decision.records import (
    Condition,
    Decision,
    DecisionInputs,
    Memory,
    Step,
    Steps,
    Vote,
    Votes,
    instant,
    seconds,
)
from monitor.decision.reference_motion import find_reference_motion, list_incomplete_references
from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext, EvaluationCache
from monitor.decision.series.maintenance import MaintenanceMask
from monitor.decision.series.neighbours import NeighbourCheck, check_neighbours
from monitor.decision.series.paired_steps import CommonDisturbance, find_disturbed
from monitor.decision.series.station_health import BLIND, SICK, SeriesHealthMap, mark_unexplained
from monitor.decision.series.steps import (
    ACTIVE,
    MOVEMENT,
    denies_movement,
    find_step_candidates,
    requested_level,
    update_steps,
)
from monitor.decision.situation import CommonMotion, Situation
from monitor.decision.unsigned import keep_higher
from monitor.decision.vote_status import VoteStatus, classify_votes, hold_scattering
from monitor.decision.votes import (
    REFERENCE,
    drop_exceeded_answers,
    find_questions_of_lasting_motion,
    keep_answers,
    keep_signatures,
    update_votes,
)
from monitor.readings.no_value import AT_STOP
from monitor.sites.parents import Place
from monitor.sites.records import Criterion, Site
from monitor.sites.witnesses import find_moving_series
from monitor.text.message import Message, Template, Term

_INSTRUMENT_FAULT: Final = Template(
    "vote.instrument_fault", "{station} is {word} and does not count: {quantity}: {text}"
)
_MOVE_ALIKE: Final = Template(
    "vote.move_alike", "all stations measured against {reference} move alike, so the reference may have moved"
)


def decide(
    site: Site, memory: Memory, inputs: DecisionInputs, now: datetime, cache: EvaluationCache | None = None
) -> Decision:
    """Decide the level of a site at one instant.

    Args:
        memory: What the decision before left.
        inputs: What was known at `now`.
        cache: Tracks and sums that earlier decisions with the same site file left. It saves time and changes no result.

    Returns:
        The decision. The same arguments give the same canonical JSON, bit for bit.
    """
    prepared = prepare(site, inputs, memory, seconds(now), cache)
    situation = compute_situation(prepared)
    newest_s = _find_newest(inputs, prepared.context.now_s, memory.newest_s)
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
        witnesses_available=observability.witnesses,
        health=situation.healths,
        changes=list_changes(site, situation.before, next_memory, evidence, newest_s, growth),
        evidence=evidence,
        rates=rates,
        newest_at=None if newest_s is None else instant(_find_newest_of_slope(situation, newest_s)),
        next_due_s=find_next_due(situation, next_memory),
    )


def compute_situation(prepared: PreparedDecision) -> Situation:
    """Compute the situation of a site at one instant: criteria, steps, votes, rules, ladder and observability."""
    site = prepared.context.site
    series_health = prepared.series_health

    assessments, signed_assessments = assess_criteria(prepared)
    moved = follow_steps(prepared, signed_assessments)
    steps = moved.steps
    count = count_votes(prepared, assessments, signed_assessments, moved)
    context = count.context

    covered_steps = find_covered_steps(steps, prepared.masks)
    rules = tuple(
        apply_rule(site, rule, count.statuses, prepared.groups, context.memory.answered) for rule in site.fusion.rules
    )
    counted = gather_counted(prepared, count.statuses, steps, covered_steps, rules)
    requested = fuse(site, counted, lambda key: prepared.groups.get(key.station, key.station))
    level_state = advance_ladder(count, steps, rules, requested)

    moving_references = find_reference_motion(context, count.assessments, steps)
    reach = find_present_reach(context)
    incomplete = find_incomplete(
        context, count.assessments, steps, count.statuses, prepared.masks, series_health, reach
    ) | list_incomplete_references(moving_references)
    return Situation(
        context=context,
        factor=prepared.factor,
        assessments=doubt_assessments(site, count.assessments, incomplete, context.now_s),
        steps=steps,
        disturbed=moved.disturbed,
        sick={**prepared.sick, **count.scattering},
        healths=mark_unexplained(site, prepared.healths, series_health, steps),
        series_health=series_health,
        common=count.common,
        neighbours=count.neighbours,
        votes=count.votes,
        vote_statuses=count.statuses,
        covered=covered_steps,
        rule_statuses=rules,
        counted=counted,
        requested=requested,
        level_state=level_state,
        observability=assess_observability(
            context, level_state, series_health, steps, prepared.groups, incomplete, count.assessments, reach
        ),
        moving_references=moving_references,
        corrected=prepared.questions,
    )


# ---- criteria --------------------------------------------------------------------------------------------------
def assess_criteria(prepared: PreparedDecision) -> tuple[list[Assessment], list[Assessment]]:
    """Return the assessments that count for votes, and those of signed values alone."""
    signed = _assess_all(prepared.context)
    merged = signed
    if prepared.with_unsigned is not None:
        merged = keep_higher(signed, _assess_all(prepared.with_unsigned))
    return _set_aside_rest_of_blind_series(prepared.context.site, merged, prepared.series_health), signed


def _assess_all(context: DecisionContext) -> list[Assessment]:
    assessments = [
        assessment for criterion in context.site.criteria for assessment in assess_criterion(criterion, context)
    ]
    return measure_coverage(context, assessments)


def _set_aside_rest_of_blind_series(
    site: Site, assessments: Assessments, series_health: SeriesHealthMap
) -> list[Assessment]:
    """Let series that cannot show rest lower nothing. Motion that they show counts.

    A series whose last digit is too coarse for a rate still shows whether its values exceed a bound on values.
    """
    blind = {place: health.state for place, health in series_health.items() if health.state in BLIND}
    if not blind:
        return list(assessments)
    criteria_on_values = {criterion.id for criterion in site.criteria if criterion.kind.is_level}

    def cannot_show_rest(assessment: Assessment) -> bool:
        return any(
            place in blind and (blind[place] == AT_STOP or assessment.criterion not in criteria_on_values)
            for place in list_series_behind(site, assessment.key, {})
        )

    return [
        replace(assessment, fresh=False, has_data=assessment.has_data and assessment.raise_level > 0)
        if cannot_show_rest(assessment)
        else assessment
        for assessment in assessments
    ]


# ---- steps -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class FollowedSteps:
    """Sudden steps after this evaluation, and references whose stations move alike."""

    steps: dict[StepKey, Step]
    disturbed: CommonDisturbance  # steps that wait for those of other stations
    stations_alike: Mapping[str, Sequence[str]]  # by reference
    sentences: Mapping[str, Message]  # for people, by reference


def follow_steps(prepared: PreparedDecision, signed_assessments: Assessments) -> FollowedSteps:
    """Find jumps in the cleaned tracks, and what became of the steps that are known."""
    context, tracks, groups = prepared.context, prepared.tracks, prepared.groups
    candidates = find_step_candidates(context, prepared.followed)
    stations_alike, sentences = find_common_motion(context, signed_assessments, candidates, groups)
    alike = [station for stations in stations_alike.values() for station in stations]
    steps = update_steps(context.memory, candidates, tracks, context, groups, alike)
    disturbed = find_disturbed(context, steps, tracks, groups, alike)
    return FollowedSteps(steps, disturbed, stations_alike, sentences)


def find_covered_steps(steps: Steps, masks: Mapping[str, MaintenanceMask]) -> dict[StepKey, Message]:
    """Return the steps that maintenance of their station sets aside, with the reason."""
    covered: dict[StepKey, Message] = {}
    for key, step in steps.items():
        mask = masks.get(key.station)
        if mask is not None and requested_level(step) <= mask.limit:
            covered[key] = mask.reason
    return covered


# ---- votes -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class VoteCount:
    """The votes after this evaluation, and what each counts for."""

    context: DecisionContext  # without answers that the motion has outgrown
    assessments: Assessments  # those of series that scatter too much are held
    scattering: Mapping[str, Condition]  # conditions of series that scatter too much
    votes: dict[VoteKey, Vote]
    statuses: Mapping[VoteKey, VoteStatus]
    common: CommonMotion
    neighbours: NeighbourCheck
    fresh: set[VoteKey]  # votes of witnesses with fresh data


def count_votes(
    prepared: PreparedDecision, assessments: Assessments, signed_assessments: Assessments, moved: FollowedSteps
) -> VoteCount:
    """Update the votes of all witnesses, and find what each counts for: neighbours, references and maintenance."""
    context, voters, series_health = prepared.context, prepared.voters, prepared.series_health
    site, now_s, groups = context.site, context.now_s, prepared.groups
    scattering_series = _find_scattering_series(site, assessments, series_health)
    assessments, scattering = hold_scattering(context, assessments, scattering_series, series_health, groups)
    voting = [assessment for assessment in assessments if assessment.criterion in voters]
    votes = update_votes(context, voting, voters, moved.steps)
    memory = drop_exceeded_answers(site, context.memory, votes, now_s, moved.steps)
    if memory is not context.memory:
        context = replace(context, memory=memory)
    since_s = {reference: memory.common.get(reference, now_s) for reference in moved.stations_alike}
    common = CommonMotion(moved.stations_alike, since_s, moved.sentences)
    pending = find_pending_reasons(site, votes, voters, series_health, find_suspects(context, common))
    neighbours = check_neighbours(context, signed_assessments, votes, pending, groups, prepared.masks)
    fresh = {assessment.key for assessment in assessments if assessment.has_data and assessment.fresh}
    return VoteCount(
        context=context,
        assessments=assessments,
        scattering=scattering,
        votes=votes,
        statuses=classify_votes(votes, pending, neighbours.caps, prepared.masks, fresh, now_s),
        common=common,
        neighbours=neighbours,
        fresh=fresh,
    )


def _find_scattering_series(
    site: Site, assessments: Assessments, series_health: SeriesHealthMap
) -> dict[VoteKey, Place]:
    """Return the witnesses whose series scatters far more than usual, each with that series."""
    bursts = {place for place, health in series_health.items() if health.burst}
    if not bursts:
        return {}
    return {
        assessment.key: place
        for assessment in assessments
        for place in list_series_behind(site, assessment.key, {})
        if place in bursts
    }


def find_pending_reasons(
    site: Site,
    votes: Votes,
    criteria: Mapping[str, Criterion],
    series_health: SeriesHealthMap,
    suspects: Mapping[str, Message],
) -> dict[VoteKey, Message]:
    """Return the votes that do not count now, with the reason: a faulty instrument, or a reference under suspicion."""
    reasons: dict[VoteKey, Message] = {}
    for key, vote in votes.items():
        if vote.level == 0:
            continue
        places = [place for place in list_series_behind(site, key, {}) if place in series_health]
        faulty = next((place for place in places if series_health[place].state in SICK), None)
        if faulty is not None:
            health = series_health[faulty]
            reasons[key] = _INSTRUMENT_FAULT(
                station=key.station, word=Term(health.state), quantity=Term(faulty[1]), text=health.reason
            )
        elif key.station in suspects and criteria[key.criterion].kind.motion:
            reasons[key] = suspects[key.station]
    return reasons


def find_suspects(context: DecisionContext, common: CommonMotion) -> dict[str, Message]:
    """Return the stations whose reference is under suspicion, with the reason.

    The suspicion ends when its clock is over, or when a person answers that the slope moved.
    """
    suspects: dict[str, Message] = {}
    for reference, stations in common.stations.items():
        answer = context.memory.answers.get(f"{REFERENCE}{reference}")
        ends_s = common.since_s[reference] + context.site.fusion.verify_within_s
        if denies_movement(answer) or (context.now_s < ends_s and answer != MOVEMENT):
            suspects |= dict.fromkeys(stations, _MOVE_ALIKE(reference=reference))
    return suspects


# ---- level -----------------------------------------------------------------------------------------------------
def gather_counted(
    prepared: PreparedDecision,
    statuses: Mapping[VoteKey, VoteStatus],
    steps: Steps,
    covered_steps: Collection[StepKey],
    rules: Sequence[RuleStatus],
) -> dict[Supporter, int]:
    """Return everything that counts for a level now: votes of witnesses, steps, and rules that hold."""
    counted: dict[Supporter, int] = {}
    for vote_key, status in statuses.items():
        if status.counted_level > 0 and vote_key.criterion in prepared.witnesses:
            counted[vote_key] = status.counted_level
    for step_key, step in steps.items():
        if step.state in ACTIVE and step_key not in covered_steps:
            counted[StepVote(step_key)] = requested_level(step)
    for rule in rules:
        for rule_key in rule.keys:
            counted[rule_key] = rule.rule.level
    return counted


def advance_ladder(
    count: VoteCount, steps: Steps, rules: Sequence[RuleStatus], requested: RequestedLevel
) -> LevelState:
    """Return the level after this evaluation. It does not fall while a backlog of readings is stored."""
    set_aside = {key for key, status in count.statuses.items() if status.limit_reason is not None}

    def is_over(key: Supporter, level: int) -> bool:
        if isinstance(key, RuleKey):
            return any(status.rule.id == key.rule and status.holds is False for status in rules)
        return is_clear(key, level, count.votes, steps, count.fresh, set_aside)

    context = count.context
    return advance_level(context.site, context.memory, requested, is_over, may_fall=not context.inputs.draining)


def is_clear(
    key: VoteKey | StepVote,
    level: int,
    votes: Votes,
    steps: Steps,
    fresh: Collection[VoteKey],
    set_aside: Collection[VoteKey],
) -> bool:
    """Return whether the witness of a vote shows with fresh data that the level is over."""
    if isinstance(key, StepVote):
        step = steps.get(key.step)
        return step is None or requested_level(step) < level
    vote = votes.get(key)
    return vote is not None and key in fresh and key not in set_aside and vote.level < level


# ---- memory ----------------------------------------------------------------------------------------------------
def build_memory(situation: Situation, newest_s: float | None) -> Memory:
    """Return what this decision leaves to the next one.

    Args:
        newest_s: The newest datum that any decision has used, in epoch seconds.
    """
    before, now_s = situation.before, situation.context.now_s
    observability, steps = situation.observability, situation.steps
    level = situation.level_state.level
    has_changed = level != before.level
    common_since_s, asked_since_s = situation.common.since_s, situation.neighbours.open_since_s
    lasting = _list_lasting_questions(situation)
    answers = keep_answers(before.answers, lasting, now_s)
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
        heights={
            question: height
            for question, height in sorted(before.heights.items())
            if question in answers or question in lasting
        },
        signed=keep_signatures(before, {*steps, *lasting}),
        unheard=observability.unheard,
        held=observability.held,
        incomplete=observability.reasons,
        receptions=situation.context.list_remembered_receptions(),
    )


def _list_lasting_questions(situation: Situation) -> set[str]:
    """Return the questions that are open now, or whose motion lasts."""
    before = situation.before
    lasting = {f"{REFERENCE}{reference}" for reference in situation.common.since_s}
    lasting |= {*situation.neighbours.open_since_s, *situation.corrected}
    # To find out which motions last takes a fit for each station. Only answers and signatures need it.
    if before.answers or before.heights or before.signed:
        lasting |= find_questions_of_lasting_motion(
            situation.site, situation.assessments, situation.votes, situation.context.now_s
        )
    return lasting


def _find_newest(inputs: DecisionInputs, now_s: float, before_s: float | None) -> float | None:
    """Return the newest datum up to now, in epoch seconds; that of earlier decisions if there is none."""
    epochs_s = [newest.observed_s for newest in inputs.newest.values() if newest.observed_s <= now_s]
    return max(epochs_s, default=before_s)


def _find_newest_of_slope(situation: Situation, newest_s: float) -> float:
    """Return the newest datum of the series that measure the motion of the slope.

    Rain gauges and control stations go on sending when the slope has taken its own instruments along. Without series of
    motion, or if they never sent anything, it is the newest datum of all series.
    """
    epochs_s = [situation.series_health[place].newest_s for place in find_moving_series(situation.site)]
    return max((epoch_s for epoch_s in epochs_s if epoch_s is not None), default=newest_s)
