"""Assess which series of a site have usable data, and the highest level that they can raise.

The state of a site is one of:

* `full`: all voting series are healthy, and `find_incomplete` lists nothing;
* `blind`: no voting series is healthy, also before the first reading of a site; or the level depends on series, or on
  supporters that the site file does not declare any more, and none of these series is healthy; or stations became
  silent together (`check_common_silence`). A level that only observers or a person support does not make a site blind;
* `degraded`: everything else.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from monitor.decision.common_silence import check_common_silence
from monitor.decision.incomplete_series import IncompleteSeries, find_held, summarize_reasons
from monitor.decision.keys import RuleKey, StepVote, Supporter
from monitor.decision.ladder import LevelState
from monitor.decision.lost_levels import PresentReach
from monitor.decision.orphaned_votes import find_orphaned_supporters
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Steps
from monitor.decision.series.assessment import Assessments, DecisionContext
from monitor.decision.series.station_health import SeriesHealth, SeriesHealthMap
from monitor.decision.situation import Observability
from monitor.sites.parents import Place
from monitor.text.message import Message


def assess_observability(
    context: DecisionContext,
    level_state: LevelState,
    series_health: SeriesHealthMap,
    steps: Steps,
    incomplete: Mapping[str, IncompleteSeries],
    assessments: Assessments,
    reach: PresentReach,
) -> Observability:
    """Assess which series have usable data, and the highest level that they can raise.

    The reachable level is the level that can be raised wherever the slope moves. It is the smaller of two levels: the
    level that all votes together can raise, and the smallest of the highest levels of the motion series.

    While a backlog of readings is stored, state and reachable level do not change.
    """
    prepared = context.prepared
    site = context.site
    memory = context.memory
    level = level_state.level
    supporters = level_state.supporters
    voting = prepared.voting_series
    healthy = {place for place in voting if series_health[place].state == "ok"}
    # The first readings of a new station are not overdue.
    expected = {place for place in voting if series_health[place].state == "unknown"}
    reachable = prepared.compute_reachable_level(healthy | expected, reach.closed)
    top_group_count = len(reachable.top_groups)
    orphaned = find_orphaned_supporters(site, supporters, level, memory.unheard, context.now_s)
    if context.inputs.draining and memory.reachable_level is not None:
        return Observability(
            state=memory.observability,
            reachable_level=memory.reachable_level,
            highest_level=reachable.level,
            top_group_count=top_group_count,
            unseen_since_s=None,
            unheard=orphaned,
            outside=memory.outside,
            barriers=reach.barriers,
            rare=reach.rare,
            reasons=dict(memory.incomplete),
            held=memory.held,
        )

    supporting = {
        place
        for key, supported in supporters.items()
        if supported >= level > 0
        for place in list_series_behind(prepared, key, steps)
    } & voting
    silence_check = check_common_silence(context, level, series_health, supporting)
    is_blind = (
        silence_check.silence is not None
        or (bool(voting) and not healthy)
        or (bool(supporting or orphaned) and not supporting & healthy)
    )
    is_full = healthy == voting and not incomplete

    held = find_held(context, assessments, supporters, level)
    # A series with doubted readings has the same time to recover as a silent series: its allowed silence.
    doubted_since_s: dict[Supporter, float] = {}
    for key, since_s in held.items():
        silences_s = [_find_silence_s(context, place) for place in list_series_behind(prepared, key, steps)]
        doubted_since_s[key] = since_s + max(silences_s, default=0.0)
    unseen_since_s = _find_unseen_since(
        context, series_health, supporting - healthy, {**orphaned, **doubted_since_s}, voting if is_blind else None
    )
    reasons = {name: series.reason for name, series in incomplete.items()}
    reasons |= {".".join(place): series_health[place].reason for place in voting - healthy}
    state = "degraded"
    if is_blind:
        state = "blind"
    elif is_full:
        state = "full"
    return Observability(
        state=state,
        reachable_level=min([reachable.level, *reach.highest.values()]),
        highest_level=reachable.level,
        top_group_count=top_group_count,
        unseen_since_s=unseen_since_s,
        unheard=orphaned,
        silence=silence_check.silence,
        silence_due_s=silence_check.due_s,
        outside=silence_check.outside,
        barriers=reach.barriers,
        rare=reach.rare,
        reasons=dict(sorted(reasons.items())),
        incomplete=incomplete,
        held=held,
        held_reason=_explain_held(context.prepared, steps, unseen_since_s, doubted_since_s, reasons),
    )


def list_series_behind(prepared: PreparedSite, key: Supporter, steps: Steps = MappingProxyType({})) -> list[Place]:
    """Return the series that a vote or step depends on.

    If no such series is declared, return all voting series of the station.

    Args:
        prepared: The site.
        key: Key of the vote, step or rule.
        steps: Steps by key. They are needed only if `key` is the key of a step.
    """
    site = prepared.site
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
    return sorted(place for place in prepared.voting_series if place[0] == station)


def find_deadline(context: DecisionContext, place: Place, newest_s: float | None) -> float:
    """Return when a series becomes silent, in epoch seconds.

    Args:
        context: The context.
        place: Station and quantity of the series.
        newest_s: The newest epoch of the series. None if it has no data since the first evaluation of the site.
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
    unhealthy: Collection[Place],
    unsure_since_s: Mapping[Supporter, float],
    series_of_blind_site: Collection[Place] | None,
) -> float | None:
    """Return since when the level depends on unusable data, or since when a blind site has no data, in epoch seconds.

    One supporter of the level without usable data is enough. A second one does not restart the time. For a blind site
    without such supporters, it is the instant at which the last series became unusable.

    Args:
        context: The context.
        series_health: Health of every series.
        unhealthy: Series that the level depends on and that are not healthy.
        unsure_since_s: Supporters of the level that no criterion declares any longer, or that do not fall only because
            readings are missing, with the instant since when.
        series_of_blind_site: All voting series of a blind site. None if the site is not blind.
    """
    if unhealthy or unsure_since_s:
        unhealthy_since_s = [_find_last_expected(context, place, series_health[place]) for place in unhealthy]
        return min([*unsure_since_s.values(), *unhealthy_since_s])
    if series_of_blind_site is None:
        return None
    return max(_find_last_expected(context, place, series_health[place]) for place in series_of_blind_site)


def _find_last_expected(context: DecisionContext, place: Place, health: SeriesHealth) -> float:
    """Return the latest instant at which a good value of an unhealthy series was due, in epoch seconds.

    Faulty values do not count, so this is derived from the newest epoch that a vote depends on.
    """
    newest_s = [
        vote.newest_s
        for key, vote in context.memory.votes.items()
        if place in list_series_behind(context.prepared, key)
    ]
    default_s = health.newest_s if health.state == "silent" else None
    return min(context.now_s, find_deadline(context, place, max(newest_s, default=default_s)))


def _explain_held(
    prepared: PreparedSite,
    steps: Steps,
    unseen_since_s: float | None,
    doubted_since_s: Mapping[Supporter, float],
    reasons: Mapping[str, Message],
) -> Message | None:
    """Return which readings are missing of the supporters that do not fall, if `unseen_since_s` is due to them."""
    names: set[str] = set()
    if unseen_since_s is not None and unseen_since_s in doubted_since_s.values():
        names = {".".join(place) for key in doubted_since_s for place in list_series_behind(prepared, key, steps)}
    return summarize_reasons({name: reason for name, reason in reasons.items() if name in names})
