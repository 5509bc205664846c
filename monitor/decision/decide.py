"""The decision: from what was known at an instant to level, observability and alert changes. Pure and replayable."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from monitor.decision.common_mode import find_common
from monitor.decision.common_silence import find_common_silence
from monitor.decision.conditions import explain_growth, follow_growth, list_changes, list_conditions, review_due_s
from monitor.decision.criteria.assess import assess_criterion
from monitor.decision.evidence import describe
from monitor.decision.fusion_rules import RuleStatus, apply_rule
from monitor.decision.headline import list_rates
from monitor.decision.incomplete_series import (
    IncompleteSeries,
    doubt_assessments,
    find_held,
    find_incomplete,
    measure_coverage,
    summarize_reasons,
)
from monitor.decision.keys import RuleKey, StepKey, StepVote, Support, VoteKey
from monitor.decision.ladder import LevelState, RequestedLevel, advance_level, fuse
from monitor.decision.lost_levels import PresentReach, find_present_reach
from monitor.decision.orphaned_votes import find_orphaned_supporters
from monitor.decision.prepare import PreparedDecision, prepare
from monitor.decision.proof import next_proof_s
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
from monitor.decision.series.coseismic_steps import find_shaken, next_page_s
from monitor.decision.series.neighbours import NeighbourCheck, check_neighbours
from monitor.decision.series.paired_steps import CommonDisturbance, find_disturbed
from monitor.decision.series.station_health import BLIND, SICK, SeriesHealth, SeriesHealthMap, mark_unexplained
from monitor.decision.series.step_clocks import clock_s
from monitor.decision.series.steps import (
    ACTIVE,
    MOVEMENT,
    find_step_candidates,
    requested_level,
    says_no,
    update_steps,
)
from monitor.decision.situation import CommonMotion, Observability, Situation
from monitor.decision.unsigned import keep_higher
from monitor.decision.vote_status import VoteStatus, classify_votes, hold_scattering
from monitor.decision.votes import (
    REFERENCE,
    drop_exceeded_answers,
    find_lasting,
    keep_answers,
    keep_signatures,
    update_votes,
)
from monitor.readings.no_value import AT_STOP
from monitor.sites.parents import FALL_TOGETHER_S, GONE, list_children
from monitor.sites.records import Criterion, Site, once_per_record
from monitor.sites.witnesses import Groups, compute_reachable_level, find_moving_series, find_voting_series
from monitor.text.message import Message, Template, Term

_SICK: Final = Template("vote.instrument_sick", "{station} is {word}: {quantity}: {text}")
_MOVE_AS_ONE: Final = Template("vote.move_as_one", "all on {reference} move as one")


def decide(
    site: Site, memory: Memory, view: DecisionInputs, now: datetime, warm: EvaluationCache | None = None
) -> Decision:
    """Decide once.

    Args:
        warm: what earlier decisions on this very site left for the next one; it saves work and changes nothing.

    Returns:
        The decision; the same arguments give the same canonical JSON, bit for bit.
    """
    prepared = prepare(site, view, memory, seconds(now), warm)
    situation = compute_situation(prepared)
    now_s = prepared.context.now_s
    newest_s = max((n.observed_s for n in view.newest.values() if n.observed_s <= now_s), default=memory.newest_s)
    after = remember(situation, newest_s)
    outlook = situation.sight
    evidence = describe(situation, after, now)
    rates = tuple(list_rates(evidence, situation.site))
    reported, grown = follow_growth(situation.before, after.level, rates)
    after = replace(after, reported=reported)
    growth = explain_growth(evidence["sentence"], grown, situation.before.reported) if grown else None
    return Decision(
        memory=after,
        level=after.level,
        observability=outlook.observability,
        reachable_level=outlook.reachable_level,
        witnesses_available=outlook.witnesses,
        health=situation.healths,
        changes=list_changes(site, situation.before, after, evidence, newest_s, growth),
        evidence=evidence,
        rates=rates,
        newest_at=None if newest_s is None else instant(newest_of_slope(situation, newest_s)),
        next_due_s=find_next_due(situation, after),
    )


def compute_situation(prepared: PreparedDecision) -> Situation:
    """Compute the situation of a site at one instant: criteria, steps, votes, rules, ladder and observability."""
    site = prepared.context.site
    assessments, signed = assess_criteria(prepared)
    steps = follow_steps(prepared, signed)
    count = count_votes(prepared, assessments, signed, steps)
    context, statuses = count.context, count.statuses
    covered = {
        key: cover.reason
        for key, step in steps.steps.items()
        if (cover := prepared.masks.get(key.station)) is not None and requested_level(step) <= cover.limit
    }
    rulings = tuple(
        apply_rule(site, rule, statuses, prepared.groups, context.memory.answered) for rule in site.fusion.rules
    )
    counted: dict[Support, int] = {
        **{k: s.counts for k, s in statuses.items() if s.counts > 0 and k.criterion in prepared.witnesses},
        **{StepVote(k): requested_level(s) for k, s in steps.steps.items() if s.state in ACTIVE and k not in covered},
        **{key: r.rule.level for r in rulings for key in r.keys},
    }
    requested = fuse(site, counted, lambda key: prepared.groups.get(key.station, key.station))
    level_state = find_level(count, steps.steps, rulings, requested)
    moving_references = find_reference_motion(context, count.assessments, steps.steps)
    reach = find_present_reach(context)
    incomplete = find_incomplete(
        context, count.assessments, steps.steps, statuses, prepared.masks, prepared.series_health, reach
    ) | list_incomplete_references(moving_references)
    return Situation(
        context=context,
        factor=prepared.factor,
        assessments=doubt_assessments(site, count.assessments, incomplete, context.now_s),
        steps=steps.steps,
        disturbed=steps.disturbed,
        sick={**prepared.sick, **count.scattering},
        healths=mark_unexplained(site, prepared.healths, prepared.series_health, steps.steps),
        series_health=prepared.series_health,
        common=count.common,
        neighbours=count.neighbours,
        votes=count.votes,
        vote_statuses=statuses,
        covered=covered,
        rulings=rulings,
        counted=counted,
        requested=requested,
        level_state=level_state,
        sight=assess_observability(
            context,
            level_state,
            prepared.series_health,
            steps.steps,
            prepared.groups,
            incomplete,
            count.assessments,
            reach,
        ),
        moving_references=moving_references,
        corrected=prepared.questions,
    )


# ---- criteria --------------------------------------------------------------------------------------------------
def assess_criteria(prepared: PreparedDecision) -> tuple[list[Assessment], list[Assessment]]:
    """Return the assessments that count for votes, and those of signed values alone."""
    signed = assess(prepared.context)
    merged = signed if prepared.with_unsigned is None else keep_higher(signed, assess(prepared.with_unsigned))
    return silence_blind(prepared.context.site, merged, prepared.series_health), signed


def silence_blind(site: Site, assessments: Assessments, series_health: SeriesHealthMap) -> list[Assessment]:
    """What every criterion says, without the word for rest of series that cannot show any: motion counts as ever.

    A digit too coarse for a rate says where a level stands all the same.
    """
    blind = {place: sense.state for place, sense in series_health.items() if sense.state in BLIND}
    if not blind:
        return list(assessments)
    of_levels = {c.id for c in site.criteria if c.kind.is_level}
    return [
        replace(w, fresh=False, has_data=w.has_data and w.raise_level > 0)
        if any(
            blind[p] == AT_STOP or w.criterion not in of_levels for p in series_behind(site, w.key, {}) if p in blind
        )
        else w
        for w in assessments
    ]


def assess(context: DecisionContext) -> list[Assessment]:
    """What every criterion says."""
    found = [a for c in context.site.criteria for a in assess_criterion(c, context)]
    return measure_coverage(context, found)


def remember(situation: Situation, newest_s: float | None) -> Memory:
    """What this decision leaves to the next one."""
    before, now_s, outlook = situation.before, situation.context.now_s, situation.sight
    assessments, open_since_s, steps = situation.assessments, situation.neighbours.open_since_s, situation.steps
    level = situation.level_state.level
    changed = level != before.level
    since_s = situation.common.since_s
    is_needed = before.answers or before.heights or before.signed  # else it is kept for nothing, and fits cost much
    unclear = find_lasting(situation.site, assessments, situation.votes, now_s) if is_needed else set()
    lasting = {*(f"{REFERENCE}{r}" for r in since_s), *open_since_s, *unclear, *situation.corrected}
    answers = keep_answers(before.answers, lasting, now_s)
    return Memory(
        started_s=before.started_s,
        level=level,
        level_source="auto" if changed else before.level_source,
        since_s=now_s if changed else before.since_s,
        floor=before.floor,
        votes=dict(sorted(situation.votes.items())),
        supporters=situation.level_state.supporters,
        answered=before.answered,
        steps=steps,
        answers=answers,
        common=dict(sorted(since_s.items())),
        conditions=list_conditions(situation),
        observability=outlook.observability,
        reachable_level=outlook.reachable_level,
        newest_s=newest_s,
        seen_s=now_s,
        asked=dict(sorted(open_since_s.items())),
        heights={q: h for q, h in sorted(before.heights.items()) if q in answers or q in lasting},
        signed=keep_signatures(before, {*steps, *lasting}),
        unheard=outlook.unheard,
        held=outlook.held,
        incomplete=outlook.reasons,
        receptions=situation.context.list_remembered_receptions(),
    )


def newest_of_slope(situation: Situation, newest_s: float) -> float:
    """The newest datum of what measures the motion of the slope; of everything where nothing does, or it said nothing.

    The rain gauge and the control stations go on speaking when the slope has taken its own instruments along.
    """
    series_health = situation.series_health
    spoke = [series_health[p].newest_s for p in find_moving_series(situation.site)]
    return max((at_s for at_s in spoke if at_s is not None), default=newest_s)


# ---- steps -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class FollowedSteps:
    """Sudden jumps after this evaluation, and references whose rovers move as one."""

    steps: dict[StepKey, Step]
    disturbed: CommonDisturbance  # steps that wait for those of other stations
    alike: Mapping[str, Sequence[str]]  # stations by reference
    sentences: Mapping[str, Message]  # for people, by reference


def follow_steps(prepared: PreparedDecision, signed: Assessments) -> FollowedSteps:
    """Find jumps in the cleaned tracks and what became of those that are known."""
    context, tracks, groups = prepared.context, prepared.tracks, prepared.groups
    candidates = find_step_candidates(context, prepared.followed)
    alike, sentences = find_common(context, signed, candidates, groups)
    together = [s for ids in alike.values() for s in ids]
    steps = update_steps(context.memory, candidates, tracks, context, groups, together)
    return FollowedSteps(steps, find_disturbed(context, steps, tracks, groups, together), alike, sentences)


# ---- votes -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class VoteCount:
    """Votes after this evaluation, and for what each counts."""

    context: DecisionContext  # without answers that the motion has outgrown
    assessments: Assessments  # what scatters too much says nothing
    scattering: Mapping[str, Condition]  # conditions of what scatters
    votes: dict[VoteKey, Vote]
    statuses: Mapping[VoteKey, VoteStatus]
    common: CommonMotion
    neighbours: NeighbourCheck
    fresh: set[VoteKey]  # of witnesses with fresh data


def count_votes(
    prepared: PreparedDecision, assessments: Assessments, signed: Assessments, moved: FollowedSteps
) -> VoteCount:
    """Update the votes of all witnesses and find for what each counts: neighbours, references and maintenance."""
    before, voters, health = prepared.context, prepared.voters, prepared.series_health
    site, now_s, groups = before.site, before.now_s, prepared.groups
    assessments, scattering = hold_scattering(
        before, assessments, find_scattering(site, assessments, health), health, groups
    )
    votes = update_votes(before, [w for w in assessments if w.criterion in voters], voters, moved.steps)
    memory = drop_exceeded_answers(site, before.memory, votes, now_s, moved.steps)
    context = before if memory is before.memory else replace(before, memory=memory)
    common = CommonMotion(moved.alike, {r: memory.common.get(r, now_s) for r in moved.alike}, moved.sentences)
    pending = find_pending_reasons(site, votes, voters, health, find_suspects(context, common))
    neighbours = check_neighbours(context, signed, votes, pending, groups, prepared.masks)
    fresh = {w.key for w in assessments if w.has_data and w.fresh}
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


def find_scattering(site: Site, assessments: Assessments, health: SeriesHealthMap) -> dict[VoteKey, tuple[str, str]]:
    """Witnesses whose series scatters far more than usual, each with that series."""
    bursts = {place for place, one in health.items() if one.burst}
    if not bursts:
        return {}
    return {w.key: place for w in assessments for place in series_behind(site, w.key, {}) if place in bursts}


def find_level(count: VoteCount, steps: Steps, rulings: Sequence[RuleStatus], requested: RequestedLevel) -> LevelState:
    """Where the ladder stands after what is asked for; nothing falls while a backlog drains."""
    context, aside = count.context, {k: s.aside for k, s in count.statuses.items() if s.aside is not None}

    def is_over(key: Support, level: int) -> bool:
        if isinstance(key, RuleKey):
            return any(r.rule.id == key.rule and r.holds is False for r in rulings)
        return is_clear(key, level, count.votes, steps, count.fresh, aside)

    return advance_level(context.site, context.memory, requested, is_over, may_fall=not context.view.draining)


def find_pending_reasons(
    site: Site,
    votes: Votes,
    criteria: Mapping[str, Criterion],
    series_health: SeriesHealthMap,
    suspects: Mapping[str, Message],
) -> dict[VoteKey, Message]:
    """Votes that do not count now, with the reason: their series is sick, or its reference is the suspect."""
    found = {}
    for key, vote in votes.items():
        criterion, station = key.criterion, key.station
        if vote.level == 0:
            continue
        places = [p for p in series_behind(site, key, {}) if p in series_health]
        bad = next((p for p in places if series_health[p].state in SICK), None)
        if bad is not None:
            found[key] = _SICK(
                station=station,
                word=Term(series_health[bad].state),
                quantity=Term(bad[1]),
                text=series_health[bad].reason,
            )
        elif station in suspects and criteria[criterion].kind.motion:
            found[key] = suspects[station]
    return found


def find_suspects(context: DecisionContext, common: CommonMotion) -> dict[str, Message]:
    """Stations whose reference is under suspicion, with the reason: until its clock is over, or a person has said."""
    answers = context.memory.answers
    found: dict[str, Message] = {}
    for reference, stations in common.stations.items():
        answer = answers.get(f"{REFERENCE}{reference}")
        waits = context.now_s < common.since_s[reference] + context.site.fusion.verify_within_s and answer != MOVEMENT
        if waits or says_no(answer):
            found |= dict.fromkeys(stations, _MOVE_AS_ONE(reference=reference))
    return found


def is_clear(
    key: VoteKey | StepVote, level: int, votes: Votes, steps: Steps, fresh: set[VoteKey], pended: Mapping[VoteKey, str]
) -> bool:
    """True when the witness behind a vote says with fresh data that the level is over."""
    if isinstance(key, StepVote):
        step = steps.get(key.step)
        return step is None or requested_level(step) < level
    vote = votes.get(key)
    return vote is not None and key in fresh and key not in pended and vote.level < level


# ---- sight -----------------------------------------------------------------------------------------------------
def assess_observability(
    context: DecisionContext,
    level_state: LevelState,
    series_health: SeriesHealthMap,
    steps: Steps,
    groups: Groups,
    incomplete: Mapping[str, IncompleteSeries],
    assessments: Assessments,
    reach: PresentReach,
) -> Observability:
    """Observability and reachable level now; while a backlog drains those of before are kept.

    "full" needs every voting series to do well and to be known whole, and no moving series that nothing judges.

    The reachable level is the level that the slope would raise wherever it moves: at most what the votes can raise
    together, and at most what a vote on the worst judged of the moving series can request.
    """
    memory, level, supporters = context.memory, level_state.level, level_state.supporters
    site = context.site
    voting = find_voting_series(site)
    seen = {p for p in voting if series_health[p].state == "ok"}
    # a station that has just been declared is expected, not missing
    expected = {p for p in voting if series_health[p].state == "unknown"}
    reached = compute_reachable_level(site, seen | expected, groups, reach.closed)
    reachable_level = min([reached.level, *reach.highest.values()])
    witnesses = len(reached.top_groups)
    gone = find_orphaned_supporters(site, supporters, level, memory.unheard, context.now_s)
    if context.view.draining and memory.reachable_level is not None:
        return Observability(
            memory.observability,
            memory.reachable_level,
            reached.level,
            witnesses,
            None,
            gone,
            None,
            reach.barriers,
            reach.rare,
            dict(memory.incomplete),
            held=memory.held,
        )
    behind = {p for k, v in supporters.items() if v >= level > 0 for p in series_behind(site, k, steps)} & voting
    unseen = behind - seen
    silence = find_common_silence(context, level, series_health, behind)
    blind = silence is not None or (bool(voting) and not seen) or bool((behind or gone) and not behind & seen)
    is_full = seen == voting and not incomplete
    observability = "blind" if blind else "full" if is_full else "degraded"
    held = find_held(context, assessments, supporters, level)
    # like a silent series, one with doubted readings has the silence that it may keep to become sound again
    doubted_since_s = {
        key: at_s + max((_find_silence_s(context, place) for place in series_behind(site, key, steps)), default=0.0)
        for key, at_s in held.items()
    }
    since_s = _find_since_s(context, series_health, unseen, {**gone, **doubted_since_s}, voting if blind else None)
    reasons = {name: series.reason for name, series in incomplete.items()}
    reasons |= {".".join(place): series_health[place].reason for place in voting - seen}
    is_held = since_s is not None and since_s in doubted_since_s.values()
    held_names = {".".join(place) for key in held for place in series_behind(site, key, steps)} if is_held else set()
    return Observability(
        observability,
        reachable_level,
        reached.level,
        witnesses,
        since_s,
        gone,
        silence,
        reach.barriers,
        reach.rare,
        dict(sorted(reasons.items())),
        incomplete,
        held,
        summarize_reasons({name: reason for name, reason in reasons.items() if name in held_names}),
    )


def series_behind(site: Site, key: Support, steps: Steps) -> list[tuple[str, str]]:
    """The series behind a vote or step: the one it was read from, if named; else those of its station that may vote."""
    station = key.station
    if isinstance(key, StepVote):
        step = steps.get(key.step)
        quantity = "" if step is None else step.quantity
    else:
        vote = key.vote if isinstance(key, RuleKey) else key
        quantity = next((c.quantity for c in site.criteria if c.id == vote.criterion), "")
    spec = site.series(station, quantity)
    if spec is not None:
        return [(station, spec.quantity)]
    return sorted(p for p in find_voting_series(site) if p[0] == station)


def _unseen_since(context: DecisionContext, place: tuple[str, str], sense: SeriesHealth) -> float:
    """When a series that is not seen ought to have said something sound at the latest.

    What arrives broken does not count as seen: the newest datum that a vote rests on does.
    """
    votes = context.memory.votes
    newest = [v.newest_s for k, v in votes.items() if place in series_behind(context.site, k, {})]
    newest_s = max(newest, default=sense.newest_s if sense.state == "silent" else None)
    return min(context.now_s, _deadline(context, place, newest_s))


def _find_since_s(
    context: DecisionContext,
    series_health: SeriesHealthMap,
    unseen: Collection[tuple[str, str]],
    gone: Mapping[Support, float],
    blind: Collection[tuple[str, str]] | None,
) -> float | None:
    """Since when what the level rests on is out of sight, or all series of a `blind` site; None where it is seen.

    Args:
        gone: Supporters of the level that are declared no more, or that missing readings alone keep from falling.
    """
    # one of those the level rests on is enough, and a second one that goes does not start the clock anew
    if unseen or gone:
        return min([*gone.values(), *(_unseen_since(context, p, series_health[p]) for p in unseen)])
    return None if blind is None else max(_unseen_since(context, p, series_health[p]) for p in blind)


def _deadline(context: DecisionContext, place: tuple[str, str], newest_s: float | None) -> float:
    started_s = context.memory.started_s if context.memory.started_s is not None else context.now_s
    return (newest_s if newest_s is not None else started_s) + _find_silence_s(context, place)


def _find_silence_s(context: DecisionContext, place: tuple[str, str]) -> float:
    spec = context.site.series(*place)
    return 0.0 if spec is None else context.find_silence_s(spec)


def find_next_due(situation: Situation, after: Memory) -> float | None:
    """The next instant at which the decision could change without any new datum."""
    context, site = situation.context, situation.site
    unseen_since_s = situation.sight.unseen_since_s
    due = [v.valid_until_s for v in after.votes.values() if v.level > 0]
    due += [s.known_s + clock_s(site, k.station) for k, s in after.steps.items() if s.state == "pending"]
    due += [next_page_s(site, k, after.steps[k], context.now_s) for k in find_shaken(site, after.steps)]
    due += [since_s + site.fusion.verify_within_s for since_s in (*after.common.values(), *after.asked.values())]
    due += [at_s for m in context.view.maintenance for at_s in (m.from_s, m.to_s)]
    due += [at_s for c in site.criteria if (at_s := review_due_s(c)) is not None]
    due += next_proof_s(context.view.proofs, context.now_s)
    silent = [_deadline(context, p, s.newest_s) for p, s in situation.series_health.items()]
    unseen = silent if unseen_since_s is None else [*silent, unseen_since_s]
    due += [d + FALL_TOGETHER_S for d in silent]
    due += [
        newest_s + gone_s
        for place, gone_s in _list_patient(context.site)
        if (newest_s := situation.series_health[place].newest_s) is not None
    ]
    due += silent + [d + site.fusion.hold_when_missing_s for d in unseen]
    return min((d for d in due if d > context.now_s), default=None)


@once_per_record
def _list_patient(site: Site) -> Sequence[tuple[tuple[str, str], float]]:
    """Series beside others that may be silent for longer than what makes them gone, with that time."""
    places = {p for places in list_children(site).values() for p in places}
    specs = [(p, spec) for p in sorted(places) if (spec := site.series(*p)) is not None]
    return [(p, GONE * s.interval_s) for p, s in specs if s.max_silence_s > GONE * s.interval_s]
