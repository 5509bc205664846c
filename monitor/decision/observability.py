"""What a site can see at one instant, and the highest level that it can reach."""

from collections.abc import Collection, Mapping

from monitor.decision.common_silence import find_common_silence
from monitor.decision.incomplete_series import IncompleteSeries, find_held, summarize_reasons
from monitor.decision.keys import RuleKey, StepVote, Supporter
from monitor.decision.ladder import LevelState
from monitor.decision.lost_levels import PresentReach
from monitor.decision.orphaned_votes import find_orphaned_supporters
from monitor.decision.records import Steps
from monitor.decision.series.assessment import Assessments, DecisionContext
from monitor.decision.series.station_health import SeriesHealth, SeriesHealthMap
from monitor.decision.situation import Observability
from monitor.sites.parents import Place
from monitor.sites.records import Site
from monitor.sites.witnesses import Groups, compute_reachable_level, find_voting_series
from monitor.text.message import Message


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
    """Compute what the site sees, and the highest level that it can reach.

    "full" needs every voting series to be healthy and known completely, and no moving series that nothing judges.

    The reachable level is the level that the slope raises wherever it moves. It is at most what the votes can raise
    together, and at most what a vote on the worst judged of the moving series can request.

    While a backlog of readings is stored, the state and reachable level of before are kept.
    """
    site, memory = context.site, context.memory
    level, supporters = level_state.level, level_state.supporters
    voting = find_voting_series(site)
    seen = {place for place in voting if series_health[place].state == "ok"}
    # A station that has just been declared is expected, not missing.
    expected = {place for place in voting if series_health[place].state == "unknown"}
    reached = compute_reachable_level(site, seen | expected, groups, reach.closed)
    witnesses = len(reached.top_groups)
    orphaned = find_orphaned_supporters(site, supporters, level, memory.unheard, context.now_s)
    if context.inputs.draining and memory.reachable_level is not None:
        return Observability(
            state=memory.observability,
            reachable_level=memory.reachable_level,
            highest_level=reached.level,
            witnesses=witnesses,
            unseen_since_s=None,
            unheard=orphaned,
            barriers=reach.barriers,
            rare=reach.rare,
            reasons=dict(memory.incomplete),
            held=memory.held,
        )

    supporting = {
        place
        for key, supported in supporters.items()
        if supported >= level > 0
        for place in list_series_behind(site, key, steps)
    } & voting
    silence = find_common_silence(context, level, series_health, supporting)
    is_blind = silence is not None or (bool(voting) and not seen)
    is_blind = is_blind or (bool(supporting or orphaned) and not supporting & seen)
    is_full = seen == voting and not incomplete

    held = find_held(context, assessments, supporters, level)
    # Like a silent series, one with doubted readings has the silence that it may keep to become sound again.
    doubted_since_s: dict[Supporter, float] = {}
    for key, since_s in held.items():
        silences_s = [_find_silence_s(context, place) for place in list_series_behind(site, key, steps)]
        doubted_since_s[key] = since_s + max(silences_s, default=0.0)
    unseen_since_s = _find_unseen_since(
        context, series_health, supporting - seen, {**orphaned, **doubted_since_s}, voting if is_blind else None
    )
    reasons = {name: series.reason for name, series in incomplete.items()}
    reasons |= {".".join(place): series_health[place].reason for place in voting - seen}
    return Observability(
        state="blind" if is_blind else "full" if is_full else "degraded",
        reachable_level=min([reached.level, *reach.highest.values()]),
        highest_level=reached.level,
        witnesses=witnesses,
        unseen_since_s=unseen_since_s,
        unheard=orphaned,
        silence=silence,
        barriers=reach.barriers,
        rare=reach.rare,
        reasons=dict(sorted(reasons.items())),
        incomplete=incomplete,
        held=held,
        held_reason=_explain_held(site, steps, unseen_since_s, doubted_since_s, reasons),
    )


def list_series_behind(site: Site, key: Supporter, steps: Steps) -> list[Place]:
    """Return the series that a vote or step was read from; without a name, all voting series of its station."""
    station = key.station
    if isinstance(key, StepVote):
        step = steps.get(key.step)
        quantity = "" if step is None else step.quantity
    else:
        vote = key.vote if isinstance(key, RuleKey) else key
        quantity = next((criterion.quantity for criterion in site.criteria if criterion.id == vote.criterion), "")
    spec = site.series(station, quantity)
    if spec is not None:
        return [(station, spec.quantity)]
    return sorted(place for place in find_voting_series(site) if place[0] == station)


def find_deadline(context: DecisionContext, place: Place, newest_s: float | None) -> float:
    """Return when a series becomes silent, in epoch seconds.

    Args:
        newest_s: Its newest datum; None if it never sent any since the site is watched.
    """
    if newest_s is None:
        newest_s = context.now_s if context.memory.started_s is None else context.memory.started_s
    return newest_s + _find_silence_s(context, place)


def _find_silence_s(context: DecisionContext, place: Place) -> float:
    spec = context.site.series(*place)
    return 0.0 if spec is None else context.find_silence_s(spec)


def _find_unseen_since(
    context: DecisionContext,
    series_health: SeriesHealthMap,
    unseen: Collection[Place],
    unsure_since_s: Mapping[Supporter, float],
    blind: Collection[Place] | None,
) -> float | None:
    """Return since when the level rests on something out of sight; of a blind site, since when it sees nothing.

    One supporter of the level that is out of sight is enough. A second one does not start the clock again.

    Args:
        unseen: Series that the level rests on and that are not healthy.
        unsure_since_s: Supporters of the level that no criterion declares any more, or that only missing readings keep
            from falling.
        blind: All voting series of a blind site; None if it is not blind.
    """
    if unseen or unsure_since_s:
        unseen_since_s = [_find_last_expected(context, place, series_health[place]) for place in unseen]
        return min([*unsure_since_s.values(), *unseen_since_s])
    if blind is None:
        return None
    return max(_find_last_expected(context, place, series_health[place]) for place in blind)


def _find_last_expected(context: DecisionContext, place: Place, health: SeriesHealth) -> float:
    """Return when an unhealthy series should have sent a sound value at the latest.

    Faulty values do not count: the newest datum that a vote rests on does.
    """
    votes = context.memory.votes.items()
    newest_s = [vote.newest_s for key, vote in votes if place in list_series_behind(context.site, key, {})]
    default_s = health.newest_s if health.state == "silent" else None
    return min(context.now_s, find_deadline(context, place, max(newest_s, default=default_s)))


def _explain_held(
    site: Site,
    steps: Steps,
    unseen_since_s: float | None,
    doubted_since_s: Mapping[Supporter, float],
    reasons: Mapping[str, Message],
) -> Message | None:
    """Return what is missing of the series that hold the level, if the clock of the level out of sight is theirs."""
    names: set[str] = set()
    if unseen_since_s is not None and unseen_since_s in doubted_since_s.values():
        names = {".".join(place) for key in doubted_since_s for place in list_series_behind(site, key, steps)}
    return summarize_reasons({name: reason for name, reason in reasons.items() if name in names})
