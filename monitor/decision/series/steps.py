"""Turn sudden jumps into open questions with a deadline, and find the level that each of them requests.

Three terms must be distinguished:

* A *jump* is a sudden change that the detector finds in a track (`monitor.readings.cleaned.step_detector`).
* A *candidate* is a jump that is large enough to request a level if it is movement (`find_step_candidates`).
* A *step* is the stored question about a jump, with a state (`Step` in `monitor.decision.records`).

`find_step_candidates` gets the tracks of this evaluation and returns the candidates. `update_steps` gets the steps of
the memory and the candidates, and returns the steps after this evaluation. In a track with a verification limit
(`find_verification_limit`), a jump is neither ignored nor taken for movement at once. Without such a limit its values
count like any others.

1. A new candidate opens a step in the state `pending`. A person is asked what it was. If the jump is older than the
   monitoring of its station the state is `before`, and if the reading itself is doubtful it is `doubtful`. Neither has
   a deadline.
2. An answer sets the state to `movement` or `instrument`. A confirmed earthquake sets it to `event`. A declared offset
   removes the step, because the track has no jump any more. An answer against a step needs two signatures if the step
   counts for one of the two highest levels, or would do so without the earthquake that explains it
   (`monitor.decision.votes`). One person alone can answer a pending step of any
   size, because it requests nothing yet. If such a step would request one of the two highest levels as movement, that
   answer does not hold when the station becomes silent or an independent station jumped too (`_is_answered_by_one`).
3. Without an answer a step in the state `pending` or `counted` becomes `movement` if the station is silent since, or if
   an independent station jumped at the same time and later epochs confirm both
   (`monitor.decision.series.paired_steps`). Silence does the same to a step in the state `event`, and an independent
   station only if one person alone confirmed the earthquake and the step is large (`_may_pair`). After the deadline
   (`monitor.decision.series.step_deadlines`) a pending step becomes `counted`. Neither changes the states `before` and
   `doubtful`.
4. `requested_level` returns what it requests: `movement` the level of its size, `counted` the lowest level.
5. A step that counts and that nobody has answered becomes `returned` if the station comes back to its position before
   the jump within a day or six epochs, whichever is longer. A pending one is removed then
   (`monitor.decision.series.step_fates`). A later return is a new jump with a step of its own, and the first step still
   counts. A step that a person called movement stays `movement` until an offset explains it, a person answers
   otherwise, or a person sets a lower level.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, inf
from operator import mul
from statistics import median
from typing import Final, cast

from monitor.decision.keys import StepKey, StepVote
from monitor.decision.records import DecisionInputs, EventFact, Step, Steps
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.offset_answers import has_subtracted_offset, was_explained_by_offset
from monitor.decision.series.paired_steps import find_partners, is_confirmed, list_unresolved
from monitor.decision.series.step_deadlines import find_answer_time_s, find_step_interval_s
from monitor.decision.series.step_fates import BACK, find_fate, is_back_at_start
from monitor.decision.series.step_states import (
    ACTIVE,
    BEFORE,
    COUNTED,
    DOUBTFUL,
    EARTHQUAKE,
    EVENT,
    INSTRUMENT,
    MOVEMENT,
    PAIRABLE,
    PENDING,
    RETURNED,
    find_state_after,
)
from monitor.readings.cleaned.step_detector import AGREEING_EPOCHS, Jump
from monitor.readings.cleaned.tracks import Track, Tracks, compute_unit_vector, find_verification_limit
from monitor.readings.cleaned.vectors import Vector, norm
from monitor.sites.records import Criterion, SeriesSpec, Site, Station, find_bound
from monitor.text.instants import epoch_s
from monitor.text.message import Figure, Message, NameList, Template, Term, Timestamp, Value, join

_UPSLOPE: Final = Template("step.is_upslope", "it goes {distance} mm upslope and is probably a fault of the instrument")
_UNSURE: Final = Template("step.large_error", "its stated error is {n} times the usual one")
_MIRRORED: Final = Template(
    "step.of_reference", "the reference ({names}) jumped at the same time by as much in the opposite direction"
)
_JUMPED: Final = Template("step.jumped", "{station} jumped by {size} at {at}")
_BECAUSE: Final = Template("step.because", "{step}: {text}")
_AT_EVENT: Final = Template("step.during_event", "{step}, at the time of {word} ({text})")
_AT_KIND: Final = Template("step.during_kind", "{step}, at the time of {word}")
_CONFIRMED: Final = Template("step.event_confirmed", "event {n} by {way}, confirmed by {names}")
_UNCONFIRMED: Final = Template("step.unconfirmed_event", "event {n} by {way}, not confirmed by anybody")
_IS_BACK: Final = Template("step.is_back", "the station is back at its position before the jump")
_EVENT_WITHDRAWN: Final = Template(
    "step.explaining_event_withdrawn",
    "the question is open again because event {n}, which explained the jump, was withdrawn",
)
_EVENT_DOUBTED: Final = Template(
    "step.explaining_event_unconfirmed",
    "the question is open again because event {n}, which explained the jump, is not confirmed by anybody any more",
)
_ANSWER_WITHDRAWN: Final = Template(
    "step.withdrawn_answer", "the question is open again because its answer was withdrawn"
)
_SILENCE: Final = Template("step.silent_since", "the station has been silent since the jump")
_SHARED: Final = Template("step.shared", "{station}, which is independent, jumped at the same time")
_UNKNOWN_NOISE: Final = Template(
    "step.silent_with_unknown_noise",
    "the station has been silent since the jump, and the scatter of its instrument is not known yet",
)()
_UNANSWERED: Final = Template("step.no_answer", "nobody answered before the deadline what it was")()
# A jump is that of its reference if at most this share of it remains after the jump of the reference is added.
MIRRORED_SHARE: Final = 0.25
# A jump is doubtful if the stated error of its first epoch exceeds the usual one of the series by this factor.
DOUBTED_SIGMAS: Final = 3.0
# The usual error is the median of this many epochs before the jump.
USUAL_EPOCHS: Final = 24
# Slopes do not move uphill. Half a metre upslope is a fault of the instrument or of its support.
UPSLOPE_MM: Final = 500.0
# Scalar series whose positive direction is downslope.
DOWNSLOPE: Final = frozenset({"displacement", "displacement_downslope"})
# A reading is stored at the latest this long after its reception. The last evaluation may not have had such readings.
MAX_STORING_TIME_S: Final = 120.0
# Duration of an earthquake with its aftershocks. A longer declared event does not explain later steps.
SHAKING_S: Final = 6 * 3600.0


# ---- levels ----------------------------------------------------------------------------------------------------
def high_level(site: Site) -> int:
    """Return the second highest level. One person alone cannot suppress this level or the highest."""
    return max(1, site.top_level - 1)


def requested_level(step: Step) -> int:
    """Return the level that a step requests now; 0 if it does not count.

    A step that nobody answered, at one station that still sends readings, requests the lowest level. A step that
    silence follows, that an independent station shares, or that a person calls movement requests the level of its size.
    """
    if step.state == MOVEMENT:
        return step.level
    return min(1, step.level) if step.state == COUNTED else 0


# ---- candidates ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StepCandidate:
    """A jump that requests a level if it is movement.

    Attributes:
        level: The highest level that it requests as movement.
        quantity: Quantity of the series that jumped.
        is_before_monitoring: Whether the jump is older than the monitoring of its station.
        doubt: Why the jump is doubtful; None if it is not.
        is_mirrored: Whether the jump is that of the reference stations.
    """

    station: str
    jump: Jump
    level: int
    quantity: str
    is_before_monitoring: bool = False
    doubt: Message | None = None
    is_mirrored: bool = False


def find_step_candidates(
    context: DecisionContext, tracks: Iterable[tuple[Criterion, Track]]
) -> dict[StepKey, StepCandidate]:
    """Return the jumps that request a level as movement, by key.

    Only tracks of criteria with the role `witness` are examined. A jump requests each level whose rate bound it
    exceeds, and at least the lowest level if it is sudden. If several criteria show the same jump, the one with the
    highest level counts.

    Args:
        tracks: All criteria with each of their tracks.
    """
    memory = context.memory
    candidates: dict[StepKey, StepCandidate] = {}
    processed_until_s = float("-inf") if memory.seen_s is None else memory.seen_s - MAX_STORING_TIME_S
    started_s = context.now_s if memory.started_s is None else memory.started_s
    for criterion, track in tracks:
        spec = context.site.series(track.station, criterion.quantity)
        if spec is None or criterion.role != "witness":
            continue
        silence_s = context.find_silence_s(spec)
        undecided = list_undecided_jumps(context, track)
        monitored_since_s = max(started_s, min(track.received_s, default=started_s))
        for jump in (*track.jumps, *undecided):
            key = StepKey(track.station, jump.at_s)
            was_asked_before = key in memory.steps or was_explained_by_offset(memory, key)
            if not was_asked_before and jump.detectable_s <= processed_until_s and jump not in undecided:
                # An earlier evaluation had these readings and found no step. Only the loaded window has changed since.
                continue
            level = max(_find_exceeded_level(criterion, jump), 1 if is_sudden(context, spec, jump) else 0)
            previous = candidates.get(key)
            if level == 0 or (previous is not None and level <= previous.level):
                continue
            station = context.site.station(track.station)
            doubt = None if station is None else find_doubt(context.inputs, station, track, jump)
            mirrored_reason = explain_by_reference(context, criterion, spec, jump)
            candidates[key] = StepCandidate(
                track.station,
                jump,
                level,
                spec.quantity,
                is_before_monitoring=jump.at_s < monitored_since_s - silence_s,
                doubt=_UNKNOWN_NOISE if jump in undecided else doubt or mirrored_reason,
                is_mirrored=mirrored_reason is not None,
            )
    return candidates


def is_sudden(context: DecisionContext, spec: SeriesSpec, jump: Jump) -> bool:
    """Return whether the gap before a jump is at most the allowed silence or two intervals, whichever is longer.

    Across a longer gap the change may be motion.
    """
    return jump.at_s - jump.before_s <= max(context.find_silence_s(spec), 2.0 * spec.interval_s)


def _find_exceeded_level(criterion: Criterion, jump: Jump) -> int:
    """Return the highest level whose rate bound a jump exceeds; 0 if none.

    The rate is the jump divided by the window of the level, or by the gap between the readings if that is longer.
    """
    level = 0
    if not criterion.kind.rate:
        return level
    for threshold in criterion.thresholds:
        window_s = max(threshold.effective_window_s, jump.at_s - jump.before_s)
        bound, sign = find_bound(threshold)
        if sign * bound > 0 and jump.length * 86400.0 / window_s > abs(bound):
            level = max(level, threshold.level)
    return level


def list_undecided_jumps(context: DecisionContext, track: Track) -> tuple[Jump, ...]:
    """Return the newest jump that may be noise or a step, if the station is silent since; empty otherwise.

    Further readings would show which of them it is. Without them a person must be asked. A jump that is asked about
    already remains in the list when further readings are received.
    """
    if not track.unconfirmed_jumps or not track.times_s:
        return ()
    key = StepKey(track.station, track.unconfirmed_jumps[-1].at_s)
    silent_for_s = context.now_s - track.times_s[-1]
    is_silent = silent_for_s > _find_longest_silence_s(context, track.station) and not context.inputs.draining
    return track.unconfirmed_jumps[-1:] if is_silent or key in context.memory.steps else ()


# ---- doubtful jumps --------------------------------------------------------------------------------------------
def find_doubt(inputs: DecisionInputs, station: Station, track: Track, jump: Jump) -> Message | None:
    """Return why a jump is doubtful; None if it is not, or if later epochs with usual errors confirm it.

    Args:
        inputs: The readings with their stated errors. The first epoch after the jump may not be part of the track yet.
    """
    upslope_mm = _find_upslope_mm(station, track, jump)
    if upslope_mm >= UPSLOPE_MM:
        return _UPSLOPE(distance=Figure(upslope_mm, ",.0f"))
    index = bisect_left(track.times_s, jump.at_s)
    errors_before = [norm(sigma) for sigma in track.sigmas[max(0, index - USUAL_EPOCHS) : index]]
    usual_error = median(errors_before) if errors_before else 0.0
    components = [
        _find_stated_error(inputs, f"{station.id}.{quantity}", jump.at_s) for quantity in track.quantity.split("+")
    ]
    stated_error = norm(tuple(components))
    if usual_error <= 0.0 or stated_error <= DOUBTED_SIGMAS * usual_error:
        return None
    # One later epoch with a usual error, or enough epochs that agree, outweigh the large error of the first.
    sigmas_after = track.sigmas[bisect_right(track.times_s, jump.at_s) :]
    if len(sigmas_after) >= AGREEING_EPOCHS or any(
        norm(sigma) <= DOUBTED_SIGMAS * usual_error for sigma in sigmas_after
    ):
        return None
    return _UNSURE(n=Figure(stated_error / usual_error, ".1f"))


def explain_by_reference(
    context: DecisionContext, criterion: Criterion, spec: SeriesSpec, jump: Jump
) -> Message | None:
    """Return the reason if a jump is that of the reference stations of a station; None otherwise.

    The reference is subtracted from the series, so its jump appears in the series with the opposite sign.
    """
    sources = context.prepared.sources.get(spec.station, ())
    if not sources:
        return None
    simultaneous: list[Vector] = [(0.0,) * len(jump.size)]
    for source in sources:
        for other in context.track(criterion, source).jumps:
            overlaps = other.before_s < jump.at_s and jump.before_s < other.at_s
            if len(other.size) == len(jump.size) and overlaps:
                simultaneous.append(other.size)
    if len(simultaneous) == 1:
        return None
    remainder = []
    for component, *of_reference in zip(jump.size, *simultaneous, strict=True):
        remainder.append(component + fsum(of_reference) / len(sources))
    limit = min(MIRRORED_SHARE * jump.length, find_verification_limit(spec, criterion) or inf)
    return _MIRRORED(names=NameList(tuple(sources))) if norm(tuple(remainder)) <= limit else None


def _find_stated_error(inputs: DecisionInputs, name: str, at_s: float) -> float:
    """Return the stated error of the reading of a series at an instant; 0 if it is not stated or not loaded."""
    readings = inputs.readings.get(name, ())
    index = bisect_left(readings, at_s, key=lambda reading: epoch_s(reading.observed_at))
    if index >= len(readings) or epoch_s(readings[index].observed_at) != at_s:
        return 0.0
    return readings[index].sigma or 0.0


def _find_upslope_mm(station: Station, track: Track, jump: Jump) -> float:
    """Return how far a jump is upslope, mm; 0 if no direction is declared or the jump is mostly sideways."""
    if len(jump.size) == 1:
        return -jump.size[0] if track.quantity in DOWNSLOPE else 0.0
    downslope = compute_unit_vector(station, len(jump.size))
    if downslope is None:
        return 0.0
    upslope_mm = -fsum(map(mul, jump.size, downslope))
    return upslope_mm if upslope_mm >= 0.5 * jump.length else 0.0


# ---- steps -----------------------------------------------------------------------------------------------------
def update_steps(
    context: DecisionContext,
    candidates: Mapping[StepKey, StepCandidate],
    tracks: Tracks,
    stations_alike: Iterable[str],
) -> dict[StepKey, Step]:
    """Return the steps after this evaluation.

    Earlier steps are kept, changed or removed first. Then new candidates are opened, declared events are added, and the
    steps that count from now on are marked.

    Args:
        context: Its memory contains the steps after the last evaluation, and the answers to their questions.
        candidates: Jumps of this evaluation.
        tracks: Tracks by station.
        stations_alike: Stations whose steps are those of their reference. They form no pairs.
    """
    memory = context.memory
    excluded = frozenset(stations_alike)
    pairable = [key for key, step in memory.steps.items() if _may_pair(context, step) and key.station not in excluded]
    unresolved = list_unresolved(context, memory.steps, tracks, pairable)
    steps = _keep_steps(context, candidates, tracks, unresolved)
    for key, candidate in candidates.items():
        if key not in steps:
            steps[key] = _open_step(context, candidate, memory.answers.get(key))
    for key, step in list(steps.items()):
        before_s = candidates[key].jump.before_s if key in candidates else None
        steps[key] = _annotate(step, list_events_at(context, key, step, before_s), context.now_s)
    _mark_counting_steps(context, steps, tracks, excluded)
    return dict(sorted(steps.items()))


def _open_step(context: DecisionContext, candidate: StepCandidate, answer: str | None) -> Step:
    """Return the step of a new jump; its deadline starts now."""
    spec = context.site.series(candidate.station, candidate.quantity)
    size = Figure(candidate.jump.length, ".1f", spec.unit if spec else "")
    reason = _JUMPED(station=candidate.station, size=size, at=Timestamp(candidate.jump.at_s, "minute"))
    state = PENDING
    if candidate.is_before_monitoring:
        state = BEFORE
    elif candidate.doubt:
        state = DOUBTFUL
        reason = _because(reason, candidate.doubt)
    return Step(
        at_s=candidate.jump.at_s,
        known_s=context.now_s,
        size=candidate.jump.length,
        level=candidate.level,
        state=find_state_after(answer) if answer else state,
        reason=reason,
        quantity=candidate.quantity,
    )


def _keep_steps(
    context: DecisionContext,
    candidates: Mapping[StepKey, StepCandidate],
    tracks: Tracks,
    unresolved: Collection[StepKey],
) -> dict[StepKey, Step]:
    """Return the earlier steps that remain, with the state that follows from answers and later epochs."""
    memory = context.memory
    steps: dict[StepKey, Step] = {}
    for key, step in memory.steps.items():
        station_tracks = tracks.get(key.station, ())
        is_explained = has_subtracted_offset(context, key.station, step.at_s)
        can_be_removed = _can_be_removed(step, station_tracks, is_explained)
        # The level may still depend on a returned step, and its evidence must remain available.
        supports_level = step.state == RETURNED and StepVote(key) in memory.supporters
        if not (key in candidates or key in unresolved or supports_level or not can_be_removed):
            continue
        answer = memory.answers.get(key)
        if answer:
            steps[key] = replace(step, state=find_state_after(answer))
        else:
            steps[key] = _update_unanswered(step, candidates.get(key), station_tracks, context)
    return steps


def _mark_counting_steps(
    context: DecisionContext, steps: dict[StepKey, Step], tracks: Tracks, stations_alike: Collection[str]
) -> None:
    """Change the state of each step that counts from now on to `movement` or `counted`."""
    answered_by_one = {key for key, step in steps.items() if _is_answered_by_one(context, key, step)}
    pairable = [
        key
        for key, step in steps.items()
        if (_may_pair(context, step) or key in answered_by_one)
        and key.station not in stations_alike
        and find_fate(step, tracks.get(key.station, ())) != BACK
    ]
    for key, step in list(steps.items()):
        if step.state not in {PENDING, COUNTED, EVENT} and key not in answered_by_one:
            continue
        result = _find_reason_to_count(context, key, steps, pairable, tracks)
        if result is None:
            continue
        state, reason = result
        if key in answered_by_one and state == COUNTED:
            # The deadline is one for an answer, and this step has an answer.
            continue
        if state != step.state:
            steps[key] = replace(step, state=state, reason=_because(step.reason, reason), words=None)


def _update_unanswered(
    step: Step, candidate: StepCandidate | None, tracks: Iterable[Track], context: DecisionContext
) -> Step:
    """Return a step without an answer in the state that follows from later epochs.

    A doubt may be resolved, or the value may return. Only a returned value ends a step that counts; silence does not.
    """
    is_confirmed_now = step.state == DOUBTFUL and candidate is not None and candidate.doubt is None
    has_jumped_again = step.state == RETURNED and candidate is not None
    if is_confirmed_now or has_jumped_again:
        return replace(step, state=PENDING, known_s=context.now_s, reason=strip_explanation(step.reason))
    if step.state in ACTIVE and find_fate(step, tracks) == BACK and is_back_at_start(context.inputs, tracks, step):
        return replace(step, state=RETURNED, reason=_because(step.reason, _IS_BACK()))
    return step


def _may_pair(context: DecisionContext, step: Step) -> bool:
    """Return whether a step may count together with a step of an independent station.

    A step that an earthquake explains may, too, if only one person confirmed the earthquake and the step would request
    one of the two highest levels as movement.
    """
    is_high_event = step.state == EVENT and step.words == 1 and step.level >= high_level(context.site)
    return step.state in PAIRABLE or is_high_event


def _is_answered_by_one(context: DecisionContext, key: StepKey, step: Step) -> bool:
    """Return whether one person alone answered that a step was no movement, although it would request a high level.

    The high levels are the two highest, and the step would request one of them as movement. Such an answer
    does not suppress the level if silence follows the step or an independent station shares it.
    """
    answered_level = context.memory.heights.get(key)
    high = high_level(context.site)
    return step.state == INSTRUMENT and answered_level is not None and answered_level < high <= step.level


def _can_be_removed(step: Step, tracks: Sequence[Track], has_offset_at_step: bool) -> bool:
    """Return whether a step without a candidate is not needed any more.

    An offset explains it, or it is an open question and its tracks do not show its jump any more. A step that counts is
    movement until a person answers otherwise or the value returns (`_update_unanswered`).
    """
    if step.state == INSTRUMENT or has_offset_at_step:
        # `Memory.answers` still contains the answer, for the case that the jump is detected again.
        return True
    if step.state == BEFORE:
        return bool(tracks)
    if step.state == RETURNED:
        # The step is shown as long as its epoch is among the loaded readings.
        return bool(tracks) and not any(t.times_s and t.times_s[0] < step.at_s for t in tracks)
    reaching = [t for t in tracks if t.times_s and t.times_s[0] < step.at_s <= t.times_s[-1]]
    return step.state in {PENDING, DOUBTFUL, EVENT} and bool(reaching)


def _find_reason_to_count(
    context: DecisionContext, key: StepKey, steps: Steps, pairable: Sequence[StepKey], tracks: Tracks
) -> tuple[str, Message] | None:
    """Return the state of a step that counts from now on, and why it counts; None if it does not count yet.

    The state is `movement` if the station is silent since the step, or if a step of an independent station is confirmed
    together with it. It is `counted` if nobody answered before the deadline.
    """
    step = steps[key]
    site = context.site
    station = key.station
    station_tracks = tracks.get(station, [])
    newest_s = max((track.newest_s for track in station_tracks if track.newest_s is not None), default=step.at_s)
    is_silent = newest_s <= step.at_s and context.now_s - step.at_s > _find_longest_silence_s(context, station)
    if is_silent and not context.inputs.draining:
        return MOVEMENT, _SILENCE()
    if step.state == EVENT and not _may_pair(context, step):
        return None
    is_after_deadline = context.now_s >= step.known_s + find_answer_time_s(site, station)
    for partner in find_partners(context, key, steps, pairable):
        confirmations = {
            is_confirmed(context, key, step, station_tracks),
            is_confirmed(context, partner, steps[partner], tracks.get(partner.station, [])),
        }
        # Before the deadline later epochs must confirm both steps. After it, none of them may contradict.
        if confirmations == {True} or (is_after_deadline and False not in confirmations):
            return MOVEMENT, _SHARED(station=partner.station)
    return (COUNTED, _UNANSWERED) if is_after_deadline and step.state != EVENT else None


def _find_longest_silence_s(context: DecisionContext, station: str) -> float:
    """Return the longest silence that a series of a station is allowed, in seconds."""
    declared = context.site.station(station)
    if declared is None:
        return 0.0
    return max((context.find_silence_s(spec) for spec in declared.series), default=0.0)


# ---- declared events and offsets at a step ---------------------------------------------------------------------
def _annotate(step: Step, declared: list[EventFact], now_s: float) -> Step:
    """Add the declared events at the time of a step to its reason. A confirmed earthquake explains a pending step.

    An unconfirmed event is only mentioned. The question stays open until a person answers, silence after the step still
    makes it movement, and a step that counts already continues to count.
    """
    step = _reopen_without_event(step, [event for event in declared if is_earthquake(event.kind)], now_s)
    events = [event for event in declared if not event.withdrawn]
    if not events:
        return step
    quakes = [event for event in events if is_earthquake(event.kind)]
    quake = max(quakes, key=lambda event: event.confirmations, default=None)
    jumped = strip_explanation(step.reason)
    if jumped.id == _JUMPED.id:
        reason = _add_event(jumped, quake or events[-1])
        if step.reason.id == _BECAUSE.id:
            reason = _BECAUSE(step=reason, text=step.reason.values["text"])
        step = replace(step, reason=reason)
    if quake is None or quake.confirmations == 0:
        return step
    if step.state in {PENDING, EVENT}:
        return replace(step, state=EVENT, words=max(quake.confirmations, step.words or 0))
    return step


def _add_event(jumped: Message, event: EventFact) -> Message:
    details: list[Value] = [event.text[:80]] if event.text else []
    if is_earthquake(event.kind):
        way = Term(event.via)
        if event.confirmations:
            names = NameList(event.confirmed_by, conjunction=True)
            details.append(_CONFIRMED(n=event.id, way=way, names=names))
        else:
            details.append(_UNCONFIRMED(n=event.id, way=way))
    kind = Term(event.kind)
    return _AT_EVENT(step=jumped, word=kind, text=join(details)) if details else _AT_KIND(step=jumped, word=kind)


def _reopen_without_event(step: Step, quakes: list[EventFact], now_s: float) -> Step:
    """Reopen a step, with a new deadline, if nobody confirms any more the event that explained it.

    Only a withdrawal does so. An earthquake that is merely not among the loaded events still explains the step.
    """
    withdrawn = next((event for event in quakes if event.withdrawn or event.doubted), None)
    if withdrawn is None or step.state != EVENT or step.words is None:
        return step
    confirmations = max(event.confirmations for event in quakes)
    if confirmations:
        return replace(step, words=min(step.words, confirmations))
    template = _EVENT_WITHDRAWN if withdrawn.withdrawn else _EVENT_DOUBTED
    jumped = strip_explanation(step.reason)
    jumped = cast("Message", jumped.values.get("step", jumped))
    reason = _because(jumped, template(n=withdrawn.id))
    return replace(step, state=PENDING, known_s=now_s, words=None, reason=reason)


def strip_explanation(reason: Message) -> Message:
    """Return the reason of a step without the explanation why it counts or is open: the jump and its event."""
    return cast("Message", reason.values["step"]) if reason.id == _BECAUSE.id else reason


def explain_reopened(reason: Message) -> Message:
    """Return the reason of a step that is open again because its answer was withdrawn."""
    return _because(reason, _ANSWER_WITHDRAWN())


def _because(reason: Message, explanation: Message) -> Message:
    return _BECAUSE(step=strip_explanation(reason), text=explanation)


def list_events_at(
    context: DecisionContext, key: StepKey, step: Step, before_s: float | None = None
) -> list[EventFact]:
    """Return the declared events at the time of a step.

    An event counts if it overlaps the span from one interval before the last reading before the step to the first epoch
    after it. The extra interval is necessary because a solution over an hour or a day shows an event in two epochs. An
    earthquake ends at the latest `SHAKING_S` after its
    start, because a declaration must not suppress the steps of later weeks.

    Args:
        before_s: Last epoch before the step; by default one interval before the step.
    """
    if not context.inputs.events:
        return []
    station_interval_s = find_step_interval_s(context.site, key.station)
    last_before_s = step.at_s - station_interval_s if before_s is None else before_s
    from_s = last_before_s - station_interval_s
    events = []
    for event in context.inputs.events:
        to_s = min(event.to_s, event.from_s + SHAKING_S) if is_earthquake(event.kind) else event.to_s
        if event.from_s <= step.at_s and to_s >= from_s and event.received_s <= context.now_s:
            events.append(event)
    return events


def is_earthquake(kind: str) -> bool:
    """Return whether the kind of an event is an earthquake, in any spelling of case and blanks.

    >>> is_earthquake(" Earthquake"), is_earthquake("blasting")
    (True, False)
    """
    return kind.strip().lower() == EARTHQUAKE
