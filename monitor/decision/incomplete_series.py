"""Find the voting series that are not completely known, with the reason.

The site reports "full" sight only if no such series exists. A series is incomplete if readings are missing or doubted,
if people have yet to answer or sign something, or if no vote can raise a level by it. See
`monitor.readings.cleaned.coverage` for what a single criterion misses.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from monitor.decision.keys import RuleKey, StepKey, StepVote, Supporter, VoteKey
from monitor.decision.lost_levels import PresentReach
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Steps
from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext
from monitor.decision.series.corrections import needs_signature
from monitor.decision.series.maintenance import MaintenanceMask
from monitor.decision.series.station_health import SeriesHealthMap
from monitor.decision.series.step_states import BEFORE, COUNTED, DOUBTFUL, EVENT, PENDING
from monitor.decision.vote_status import VoteStatus
from monitor.readings.cleaned.coverage import WHOLE, Coverage, Removal, measure_track
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.parents import Place
from monitor.sites.records import Criterion, Site
from monitor.sites.witnesses import list_voting_witnesses
from monitor.text.message import LABELLED_TEXT, Figure, Message, Template, Timestamp, join

AND_MORE: Final = Template("text.and_more", "{text} and {n} more")
# Number of series that one sentence names.
LISTED_NAMES: Final = 3
_UNANSWERED_STEP: Final = Template("incomplete.step", "{text}; it is set aside until it is answered")
_COUNTED_STEP: Final = Template("incomplete.counted_step", "{text}; nobody has answered what it was")
_UNASKED_JUMP: Final = Template("incomplete.jump", "{size} between {at} and {at2} are not counted as motion")
_UNSIGNED: Final = Template("incomplete.unsigned", "its corrected values or an offset of it wait for a second person")()
_UNJUDGED: Final = Template("incomplete.unjudged", "no criterion with a vote judges it")()
_UNREACHED: Final = Template("incomplete.unreached", "no criterion with a vote can raise a level by it: {text}")
# States of steps whose jump is subtracted from the track although nobody has decided what it was.
_OPEN: Final = frozenset({PENDING, BEFORE, DOUBTFUL, EVENT, COUNTED})


@dataclass(frozen=True, slots=True)
class IncompleteSeries:
    """A series that is not completely known.

    Attributes:
        reason: Text for people. It contains the known share of the window if readings are missing.
        coverage: The smallest coverage of all criteria on the series; `WHOLE` if only a question to people is open.
        doubted_since_s: Readings from this instant on are in doubt; None if no result depends on that.
        doubted_until_s: End of the doubt for criteria with a window. For criteria on values the doubt lasts until the
            question is answered.
    """

    reason: Message
    coverage: Coverage = WHOLE
    doubted_since_s: float | None = None
    doubted_until_s: float = float("inf")


def measure_coverage(context: DecisionContext, assessments: Iterable[Assessment]) -> list[Assessment]:
    """Return the assessments with the coverage of the readings that each was computed from.

    Assessments of rain contain their coverage already. If the unknown part could hide that a level is still justified,
    the assessment is marked as not fresh, so that it lowers no vote.
    """
    criteria = {c.id: c for c in context.site.criteria}
    measured = []
    for assessment in assessments:
        coverage = assessment.coverage
        if coverage is WHOLE:
            # This is the default: the criterion has not measured the coverage itself.
            coverage = _measure_coverage_of_track(context, criteria[assessment.criterion], assessment.station)
        is_fresh = assessment.fresh and coverage.may_lower
        if coverage is assessment.coverage and is_fresh == assessment.fresh:
            measured.append(assessment)
        else:
            measured.append(replace(assessment, coverage=coverage, fresh=is_fresh))
    return measured


def _measure_coverage_of_track(context: DecisionContext, criterion: Criterion, station: str) -> Coverage:
    """Measure the coverage of a criterion on the track of one station; `WHOLE` for criteria on something else."""
    spec = context.site.series(station, criterion.quantity)
    if criterion.kind.source != "instruments" or spec is None or spec.quantity == "rain":
        return WHOLE
    window_s = load_criteria()[criterion.kind.id].find_window_s(criterion)
    track = context.track(criterion, station)
    now_s = None if context.inputs.draining else context.now_s
    return measure_track(track, criterion, window_s, context.find_silence_s(spec), spec.interval_s, now_s)


def find_incomplete(
    context: DecisionContext,
    assessments: Assessments,
    steps: Steps,
    statuses: Mapping[VoteKey, VoteStatus],
    masks: Mapping[str, MaintenanceMask],
    health: SeriesHealthMap,
    reach: PresentReach,
) -> dict[str, IncompleteSeries]:
    """Return the incomplete series, by `STATION.quantity`, with one reason each.

    If there are several reasons, the first of this list is used: unsigned values, a burst of scatter, maintenance, an
    open step, a jump without a question, a vote that does not count in full, missing readings, no reachable level, no
    result. Motion series without a vote are included. Zones with missing values and criteria that could not be applied
    are added under names of their own.
    """
    series_by_vote = _list_series_by_vote(context.prepared)
    sources = (
        _list_unsigned(context),
        _list_bursts(context, health),
        _list_under_maintenance(context, masks),
        _list_open_steps(context, steps),
        _list_unasked_jumps(context, steps),
        _list_limited_votes(statuses, series_by_vote),
        _list_missing_readings(assessments, series_by_vote),
        _list_unreachable(context.prepared, reach),
        _list_without_result(assessments, series_by_vote),
    )
    incomplete: dict[Place, IncompleteSeries] = {}
    for place, series in chain.from_iterable(sources):
        incomplete.setdefault(place, series)
    named = {".".join(place): series for place, series in sorted(incomplete.items())}
    site = context.site
    return named | _list_incomplete_zones(site, assessments) | _list_failed_criteria(site, assessments)


# ---- reasons of series, one function each ----------------------------------------------------------------------
_Reasons = Iterator[tuple[Place, IncompleteSeries]]


def _list_unsigned(context: DecisionContext) -> _Reasons:
    """Yield all voting series of each station with corrected values or an offset that wait for a signature."""
    for place in context.prepared.voting_series:
        if needs_signature(context, place[0]):
            yield place, IncompleteSeries(_UNSIGNED, doubted_since_s=float("-inf"))


def _list_bursts(context: DecisionContext, health: SeriesHealthMap) -> _Reasons:
    """Yield the voting series that scatter too much to be judged."""
    for place in context.prepared.voting_series:
        burst_reason = health[place].burst_reason
        if burst_reason is not None:
            yield place, IncompleteSeries(burst_reason, doubted_since_s=float("-inf"))


def _list_under_maintenance(context: DecisionContext, masks: Mapping[str, MaintenanceMask]) -> _Reasons:
    """Yield the voting series of stations under maintenance."""
    for place in context.prepared.voting_series:
        mask = masks.get(place[0])
        if mask is not None:
            yield place, IncompleteSeries(mask.reason)


def _list_open_steps(context: DecisionContext, steps: Steps) -> _Reasons:
    """Yield the voting series with a step that nobody has decided about."""
    for key, step in steps.items():
        place = key.station, step.quantity
        if step.state not in _OPEN or place not in context.prepared.voting_series:
            continue
        spec = context.site.series(*place)
        before_s = step.at_s - (spec.interval_s if spec else 0.0)
        text = _COUNTED_STEP(text=step.reason) if step.state == COUNTED else _UNANSWERED_STEP(text=step.reason)
        yield place, IncompleteSeries(text, WHOLE, before_s, step.at_s)


def _list_unasked_jumps(context: DecisionContext, steps: Steps) -> _Reasons:
    """Yield the series with a jump in a window of a criterion that is subtracted from a track without a question.

    Such a jump lies across a long gap and exceeds no rate bound, or an earlier evaluation had its readings already, or
    no criterion with the role `witness` detects jumps in the series.
    """
    site = context.site
    voting = context.prepared.voting_series
    for criterion in site.criteria:
        window_s = load_criteria()[criterion.kind.id].find_window_s(criterion)
        if not (criterion.kind.followed and window_s > 0.0):
            continue
        for station in criterion.stations:
            spec = site.series(station, criterion.quantity)
            if spec is None or spec.quantity == "rain" or (station, spec.quantity) not in voting:
                continue
            track = context.track(criterion, station)
            newest_s = track.usable_s or 0.0
            for jump in track.jumps:
                if jump.at_s > newest_s - window_s and StepKey(station, jump.at_s) not in steps:
                    size = Figure(jump.length, ".3g", spec.unit)
                    text = _UNASKED_JUMP(size=size, at=Timestamp(jump.before_s), at2=Timestamp(jump.at_s))
                    yield (station, spec.quantity), IncompleteSeries(text, WHOLE, jump.before_s, jump.at_s)


def _list_limited_votes(
    statuses: Mapping[VoteKey, VoteStatus], series_by_vote: Mapping[VoteKey, Sequence[Place]]
) -> _Reasons:
    """Yield the series behind votes that do not count in full."""
    for key, status in statuses.items():
        if status.limit_reason is not None:
            for place in series_by_vote.get(key, ()):
                yield place, IncompleteSeries(status.limit_reason)


def _list_missing_readings(assessments: Assessments, series_by_vote: Mapping[VoteKey, Sequence[Place]]) -> _Reasons:
    """Yield the series of which readings are missing, with the smallest coverage of all criteria."""
    smallest: dict[Place, Coverage] = {}
    for assessment in assessments:
        coverage = assessment.coverage
        if coverage.is_whole:
            continue
        for place in series_by_vote.get(assessment.key, ()):
            previous = smallest.get(place)
            if previous is None or coverage.share < previous.share:
                smallest[place] = coverage
    for place, coverage in smallest.items():
        yield place, IncompleteSeries(coverage.describe(), coverage)


def _list_unreachable(prepared: PreparedSite, reach: PresentReach) -> _Reasons:
    """Yield the motion series that cannot raise any level."""
    for place, highest_level in reach.highest.items():
        if highest_level == 0:
            barrier = reach.find_barrier(prepared, place)
            yield place, IncompleteSeries(_UNJUDGED if barrier is None else _UNREACHED(text=barrier.reason))


def _list_without_result(assessments: Assessments, series_by_vote: Mapping[VoteKey, Sequence[Place]]) -> _Reasons:
    """Yield the series for which no criterion with a vote has a result, and the reason of the first criterion."""
    reasons: dict[Place, Message] = {}
    with_result: set[Place] = set()
    for assessment in assessments:
        for place in series_by_vote.get(assessment.key, ()):
            if assessment.has_data:
                with_result.add(place)
            else:
                reasons.setdefault(place, assessment.reason)
    for place, reason in reasons.items():
        if place not in with_result:
            yield place, IncompleteSeries(reason)


# ---- zones and criteria ----------------------------------------------------------------------------------------
def _list_failed_criteria(site: Site, assessments: Assessments) -> dict[str, IncompleteSeries]:
    """Return the declared criteria whose rule could not be applied, by id.

    Criteria that the site file does not contain are left out, because nobody relies on them.
    """
    declared = {criterion.id for criterion in site.criteria if not criterion.is_implied}
    return {
        assessment.criterion: IncompleteSeries(assessment.reason)
        for assessment in assessments
        if assessment.has_failed and assessment.criterion in declared
    }


def _list_incomplete_zones(site: Site, assessments: Assessments) -> dict[str, IncompleteSeries]:
    """Return the zones with missing values around stations whose zone criterion has a vote, by `STATION.zone`."""
    zones = {c.id: c.kind.zone for c in site.criteria if c.kind.zone is not None and c.role != "advice"}
    incomplete: dict[str, IncompleteSeries] = {}
    for assessment in assessments:
        zone = zones.get(assessment.criterion)
        coverage = assessment.coverage
        if zone is None or coverage.is_whole:
            continue
        station = assessment.station.partition(":")[2]
        name = f"{station}.{zone}"
        if name not in incomplete or coverage.share < incomplete[name].coverage.share:
            incomplete[name] = IncompleteSeries(coverage.describe(), coverage)
    return incomplete


# ---- consequences for assessments and for the level ------------------------------------------------------------
def reduce_coverage_of_doubted(
    prepared: PreparedSite, assessments: Assessments, incomplete: Mapping[str, IncompleteSeries], now_s: float
) -> list[Assessment]:
    """Return the assessments for the evidence. The coverage of those that depend on doubted readings is reduced.

    Whether they lower a vote does not change.
    """
    doubted = {name: series for name, series in incomplete.items() if series.doubted_since_s is not None}
    if not doubted:
        return list(assessments)
    criteria = {c.id: c for c in prepared.site.criteria}
    series_by_vote = _list_series_by_vote(prepared)
    reduced = []
    for assessment in assessments:
        names = [".".join(place) for place in series_by_vote.get(assessment.key, ())]
        doubted_series = next((doubted[name] for name in names if name in doubted), None)
        if doubted_series is None:
            reduced.append(assessment)
        else:
            criterion = criteria[assessment.criterion]
            reduced.append(_reduce_coverage(assessment, criterion, doubted_series, now_s))
    return reduced


def find_held(
    context: DecisionContext, assessments: Assessments, supporters: Mapping[Supporter, int], level: int
) -> dict[Supporter, float]:
    """Return the supporters that keep the level although their known readings request less, and since when.

    Their coverage may hide that the level is still justified, so it does not fall by itself. If that lasts, people are
    asked to set the level.
    """
    if level <= 0:
        return {}
    may_hide_level = {
        assessment.key
        for assessment in assessments
        if assessment.has_data
        and assessment.raise_level < level
        and (assessment.coverage.holds or not assessment.coverage.may_lower)
    }
    held_since_s: dict[Supporter, float] = {}
    for supporter, requested in supporters.items():
        if requested < level or isinstance(supporter, StepVote):
            continue
        vote_key = supporter.vote if isinstance(supporter, RuleKey) else supporter
        if vote_key in may_hide_level:
            held_since_s[supporter] = context.memory.held.get(supporter, context.now_s)
    return dict(sorted(held_since_s.items()))


def _reduce_coverage(
    assessment: Assessment, criterion: Criterion, series: IncompleteSeries, now_s: float
) -> Assessment:
    """Return an assessment whose coverage lacks the doubted part of its window."""
    coverage = assessment.coverage
    criterion_window_s = load_criteria()[criterion.kind.id].find_window_s(criterion)
    end_s = now_s if assessment.newest_s is None else assessment.newest_s
    window_s = max(coverage.window_s, criterion_window_s)
    to_s = min(end_s, series.doubted_until_s) if criterion_window_s > 0.0 else end_s
    is_before_window = criterion_window_s > 0.0 and to_s <= end_s - window_s
    if series.doubted_since_s is None or is_before_window:
        return assessment
    from_s = max(end_s - window_s, series.doubted_since_s)
    share = 0.0
    if window_s > 0.0:
        share = max(0.0, min(coverage.share - (to_s - from_s) / window_s, 1.0 - 1e-6))
    removals = (*coverage.removals, Removal(from_s, to_s, series.reason))
    return replace(assessment, coverage=replace(coverage, share=share, window_s=window_s, removals=removals))


# ---- texts -----------------------------------------------------------------------------------------------------
def list_reasons(incomplete: Mapping[str, Message]) -> list[Message]:
    """Return one sentence for each incomplete series: its name and the reason.

    Args:
        incomplete: Reasons by `STATION.quantity`, as in `Memory.incomplete`.
    """
    return [LABELLED_TEXT(name=name, text=reason) for name, reason in sorted(incomplete.items())]


def summarize_reasons(incomplete: Mapping[str, Message]) -> Message | None:
    """Return the first reasons in one sentence, and how many more there are; None if there is none."""
    reasons = list_reasons(incomplete)
    if not reasons:
        return None
    listed = join(reasons[:LISTED_NAMES])
    return AND_MORE(text=listed, n=len(reasons) - LISTED_NAMES) if len(reasons) > LISTED_NAMES else listed


def _list_series_by_vote(prepared: PreparedSite) -> dict[VoteKey, Sequence[Place]]:
    """Return the voting series behind each vote."""
    series_by_vote: dict[VoteKey, Sequence[Place]] = {}
    for criterion in prepared.site.criteria:
        if criterion.role == "advice":
            continue
        for witness in list_voting_witnesses(prepared.site, criterion):
            if witness.series is not None and witness.series in prepared.voting_series:
                series_by_vote[VoteKey(criterion.id, witness.name)] = [witness.series]
    return series_by_vote
