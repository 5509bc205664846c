"""Voting series of a site that are not known whole: what their criteria miss, and what people have yet to answer.

A site sees "full" only if every series on which a vote may rest is whole and every series of the slope's own motion is
judged. See `monitor.readings.cleaned.coverage` for what a single criterion misses.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from monitor.readings.cleaned.step_detector import Jump
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.parents import Place
from monitor.sites.records import Criterion, Site
from monitor.sites.witnesses import list_voting_witnesses
from monitor.text.message import LABELLED_TEXT, Figure, Message, Template, Timestamp, join

AND_MORE: Final = Template("text.and_more", "{text} and {n} more")
LISTED_NAMES: Final = 3  # series that one sentence names
_UNANSWERED_STEP: Final = Template("incomplete.step", "{text}; it is set aside until it is answered")
_COUNTED_STEP: Final = Template("incomplete.counted_step", "{text}; nobody has answered what it was")
_UNASKED_JUMP: Final = Template("incomplete.jump", "{size} between {at} and {at2} are not counted as motion")
_UNSIGNED: Final = Template("incomplete.unsigned", "its corrected values or an offset of it wait for a second person")()
_UNJUDGED: Final = Template("incomplete.unjudged", "no criterion with a vote judges it")()
_UNREACHED: Final = Template("incomplete.unreached", "no criterion with a vote can raise a level by it: {text}")
# Steps whose jump is taken out of the track, and that count for nothing or only for the lowest warning level, until a
# person answers what they were.
_OPEN: Final = frozenset({PENDING, BEFORE, DOUBTFUL, EVENT, COUNTED})


@dataclass(frozen=True, slots=True)
class IncompleteSeries:
    """A series that is not known whole, and why.

    Attributes:
        reason: For people, with the share of the window that is known where readings are missing.
        coverage: What its criteria miss at most; whole where people have yet to answer a question about it.
        doubted_since_s: What it measured from this instant on is in doubt; None where no result changes by that.
        doubted_until_s: Until this instant; values as they are stay in doubt until the question is answered.
    """

    reason: Message
    coverage: Coverage = WHOLE
    doubted_since_s: float | None = None
    doubted_until_s: float = float("inf")


def measure_coverage(context: DecisionContext, assessments: Iterable[Assessment]) -> list[Assessment]:
    """Return the assessments with the coverage of the readings that each was computed from.

    Results on rain bring their coverage along. An assessment whose missing part could hide that a level still stands
    lowers no vote.
    """
    criteria = {c.id: c for c in context.site.criteria}
    measured = []
    for assessment in assessments:
        coverage = assessment.coverage
        if coverage is WHOLE:
            coverage = _measure(context, criteria[assessment.criterion], assessment.station)
        is_fresh = assessment.fresh and coverage.may_lower
        if coverage is assessment.coverage and is_fresh == assessment.fresh:
            measured.append(assessment)
        else:
            measured.append(replace(assessment, coverage=coverage, fresh=is_fresh))
    return measured


def _measure(context: DecisionContext, criterion: Criterion, station: str) -> Coverage:
    """Measure the coverage of a criterion that reads the track of one station."""
    spec = context.site.series(station, criterion.quantity)
    if criterion.kind.source != "instruments" or spec is None or spec.quantity == "rain":
        return WHOLE
    window_s = load_criteria()[criterion.kind.id].find_window_s(criterion)
    track = context.track(criterion, station)
    now_s = float("-inf") if context.inputs.draining else context.now_s
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
    """Find the series that are not known whole, by `STATION.quantity`; first the reasons that only people can end.

    Moving series that no vote can rest on are among them.
    """
    site = context.site
    voting = context.prepared.voting_series
    found: dict[Place, IncompleteSeries] = {}
    for place in sorted(voting):
        station = place[0]
        if needs_signature(context, station):
            found[place] = IncompleteSeries(_UNSIGNED, doubted_since_s=float("-inf"))
        elif (burst := health[place].burst_reason) is not None:
            found[place] = IncompleteSeries(burst, doubted_since_s=float("-inf"))
        elif (mask := masks.get(station)) is not None:
            found[place] = IncompleteSeries(mask.reason)
    for key, step in steps.items():
        place = key.station, step.quantity
        if step.state in _OPEN and place in voting:
            spec = site.series(*place)
            before_s = step.at_s - (spec.interval_s if spec else 0.0)
            text = _COUNTED_STEP(text=step.reason) if step.state == COUNTED else _UNANSWERED_STEP(text=step.reason)
            found.setdefault(place, IncompleteSeries(text, WHOLE, before_s, step.at_s))
    for place, jump in _list_unasked_jumps(context, steps):
        length = Figure(jump.length, ".3g", spec.unit if (spec := site.series(*place)) else "")
        text = _UNASKED_JUMP(size=length, at=Timestamp(jump.before_s), at2=Timestamp(jump.at_s))
        found.setdefault(place, IncompleteSeries(text, WHOLE, jump.before_s, jump.at_s))
    series_of = _list_series(context.prepared)
    for vote_key, status in statuses.items():
        if status.limit_reason is not None:
            for place in series_of.get(vote_key, ()):
                found.setdefault(place, IncompleteSeries(status.limit_reason))
    for assessment in assessments:
        for place in series_of.get(assessment.key, ()):
            known = found.get(place)
            if not assessment.coverage.is_whole and (
                known is None or (not known.coverage.is_whole and assessment.coverage.share < known.coverage.share)
            ):
                found[place] = IncompleteSeries(assessment.coverage.describe(), assessment.coverage)
    for place, highest in reach.highest.items():
        if highest == 0:
            barrier = reach.find_barrier(context.prepared, place)
            reason = _UNJUDGED if barrier is None else _UNREACHED(text=barrier.reason)
            found.setdefault(place, IncompleteSeries(reason))
    for place, reason in _list_without_result(assessments, series_of):
        found.setdefault(place, IncompleteSeries(reason))
    named = {".".join(place): incomplete for place, incomplete in sorted(found.items())}
    return named | _list_incomplete_zones(site, assessments) | _list_failed_criteria(site, assessments)


def _list_failed_criteria(site: Site, assessments: Assessments) -> dict[str, IncompleteSeries]:
    """List the criteria whose rule could not be applied, by id.

    Advice that the site file does not contain is left out: nobody expects it.
    """
    declared = {criterion.id for criterion in site.criteria if not criterion.is_implied}
    return {
        assessment.criterion: IncompleteSeries(assessment.reason)
        for assessment in assessments
        if assessment.has_failed and assessment.criterion in declared
    }


def _list_incomplete_zones(site: Site, assessments: Assessments) -> dict[str, IncompleteSeries]:
    """List the zones around stations that may vote and of which values are missing, by `STATION.zone`."""
    zone_of = {c.id: c.kind.zone for c in site.criteria if c.kind.zone is not None and c.role != "advice"}
    found: dict[str, IncompleteSeries] = {}
    for assessment in assessments:
        zone, coverage = zone_of.get(assessment.criterion), assessment.coverage
        if zone is None or coverage.is_whole:
            continue
        name = f"{assessment.station.partition(':')[2]}.{zone}"
        if name not in found or coverage.share < found[name].coverage.share:
            found[name] = IncompleteSeries(coverage.describe(), coverage)
    return found


def _list_without_result(
    assessments: Assessments, series_of: Mapping[VoteKey, Sequence[Place]]
) -> Iterator[tuple[Place, Message]]:
    """Yield the series for which no criterion with a vote has a result, and the reason of the first criterion."""
    reasons: dict[Place, Message] = {}
    with_result: set[Place] = set()
    for assessment in assessments:
        for place in series_of.get(assessment.key, ()):
            if assessment.has_data:
                with_result.add(place)
            else:
                reasons.setdefault(place, assessment.reason)
    yield from ((place, reason) for place, reason in reasons.items() if place not in with_result)


def _list_unasked_jumps(context: DecisionContext, steps: Steps) -> Iterator[tuple[Place, Jump]]:
    """List jumps that are taken out of a track and that nobody was asked about, while they lie in a window.

    Such a jump lies across a gap and is too small for its length to ask for a level by itself.
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
                    yield (station, spec.quantity), jump


def doubt_assessments(
    prepared: PreparedSite, assessments: Assessments, incomplete: Mapping[str, IncompleteSeries], now_s: float
) -> list[Assessment]:
    """Return the assessments, those that rest on doubted readings with a coverage that says so."""
    doubted = {name: series for name, series in incomplete.items() if series.doubted_since_s is not None}
    if not doubted:
        return list(assessments)
    criteria = {c.id: c for c in prepared.site.criteria}
    series_of = _list_series(prepared)
    found = []
    for assessment in assessments:
        criterion = criteria[assessment.criterion]
        names = [".".join(place) for place in series_of.get(assessment.key, ())]
        name = next((n for n in names if n in doubted), None)
        found.append(assessment if name is None else _doubt(assessment, criterion, doubted[name], now_s))
    return found


def find_held(
    context: DecisionContext, assessments: Assessments, supporters: Mapping[Supporter, int], level: int
) -> dict[Supporter, float]:
    """Find the supporters of a level that only missing or doubted readings keep from falling, and since when.

    Their known readings ask for less than the level. No rule lowers it, because the unknown part of the window could
    hold it, so a person has to decide if that lasts.
    """
    if level <= 0:
        return {}
    unsure = {
        a.key
        for a in assessments
        if a.has_data and a.raise_level < level and (a.coverage.holds or not a.coverage.may_lower)
    }
    found: dict[Supporter, float] = {}
    for key, requested in supporters.items():
        if requested < level or isinstance(key, StepVote):
            continue
        if (key.vote if isinstance(key, RuleKey) else key) in unsure:
            found[key] = context.memory.held.get(key, context.now_s)
    return dict(sorted(found.items()))


def _doubt(assessment: Assessment, criterion: Criterion, series: IncompleteSeries, now_s: float) -> Assessment:
    """Return an assessment whose coverage lacks the doubted stretch of its window."""
    coverage = assessment.coverage
    own_s = load_criteria()[criterion.kind.id].find_window_s(criterion)
    end_s = now_s if assessment.newest_s is None else assessment.newest_s
    window_s = max(coverage.window_s, own_s)
    to_s = min(end_s, series.doubted_until_s) if own_s > 0.0 else end_s
    if series.doubted_since_s is None or (own_s > 0.0 and to_s <= end_s - window_s):
        return assessment
    from_s = max(end_s - window_s, series.doubted_since_s)
    share = 0.0 if window_s <= 0.0 else max(0.0, min(coverage.share - (to_s - from_s) / window_s, 1.0 - 1e-6))
    removals = (*coverage.removals, Removal(from_s, to_s, series.reason))
    return replace(assessment, coverage=replace(coverage, share=share, window_s=window_s, removals=removals))


def list_reasons(incomplete: Mapping[str, Message]) -> list[Message]:
    """Return one sentence for each series that is not seen whole: its name, and why.

    Args:
        incomplete: By `STATION.quantity`, as `Memory.incomplete` holds it.
    """
    return [LABELLED_TEXT(name=name, text=reason) for name, reason in sorted(incomplete.items())]


def summarize_reasons(incomplete: Mapping[str, Message]) -> Message | None:
    """Return the first reasons in one sentence, and how many more there are; None where nothing is missing."""
    reasons = list_reasons(incomplete)
    if not reasons:
        return None
    listed = join(reasons[:LISTED_NAMES])
    return AND_MORE(text=listed, n=len(reasons) - LISTED_NAMES) if len(reasons) > LISTED_NAMES else listed


def _list_series(prepared: PreparedSite) -> dict[VoteKey, Sequence[Place]]:
    """List the voting series behind each vote."""
    site = prepared.site
    voting = prepared.voting_series
    return {
        VoteKey(criterion.id, voice.witness): [voice.series]
        for criterion in site.criteria
        if criterion.role != "advice"
        for voice in list_voting_witnesses(site, criterion)
        if voice.series is not None and voice.series in voting
    }
