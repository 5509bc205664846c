"""Sudden steps: neither dropped nor believed, each with a clock and an answer that only a person or an offset gives."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, inf
from operator import attrgetter, mul
from statistics import median
from typing import Final, cast

from monitor.decision.keys import StepKey, StepVote
from monitor.decision.records import DecisionInputs, EventFact, Memory, Step, Steps, instant, seconds
from monitor.decision.series.assessment import DecisionContext, bound_of
from monitor.decision.series.offset_answers import was_answered
from monitor.decision.series.paired_steps import COMPANY, find_partners, is_confirmed, list_unresolved
from monitor.decision.series.step_clocks import clock_s, interval_s
from monitor.decision.series.step_detector import AGREEING, Jump
from monitor.decision.series.step_fates import BACK, find_fate, stands_again
from monitor.decision.series.tracks import Track, Tracks, direction, verify_step
from monitor.decision.series.vectors import Vector, norm
from monitor.sites.records import Criterion, SeriesSpec, Site, Station
from monitor.sites.witnesses import Groups, find_sources
from monitor.text.message import Figure, Message, NameList, Template, Term, Value, join

_UPSLOPE: Final = Template("step.upslope", "it goes {distance} mm upslope")
_UNSURE: Final = Template("step.unsure", "its stated error is {n} times the usual")
_MIRRORED: Final = Template("step.mirrored", "what is taken off ({names}) jumped then by as much the other way")
MIRRORED: Final = 0.25  # of a jump: so much of it may be left where its reference jumped
DOUBTED_SIGMAS: Final = 3.0  # the stated error of a fix over the usual one of its series
USUAL_EPOCHS: Final = 24  # before the jump, of which the usual error is the median
UPSLOPE_MM: Final = 500.0  # slopes do not climb; half a metre upslope is a fault of the instrument or of its frame
DOWNSLOPE: Final = frozenset({"displacement", "displacement_downslope"})  # single series that know where down is


def find_doubt(view: DecisionInputs, station: Station, track: Track, jump: Jump) -> Message | None:
    """Why a jump is doubted; None where it is not, or where later epochs have shown it with usual errors.

    Args:
        view: the readings; the newest epoch of a track may wait for the next one before it is part of it.
    """
    upslope_mm = _upslope_mm(station, track, jump)
    if upslope_mm >= UPSLOPE_MM:
        return _UPSLOPE(distance=Figure(upslope_mm, ",.0f"))
    place = bisect_left(track.times_s, jump.at_s)
    before = [norm(s) for s in track.sigmas[max(0, place - USUAL_EPOCHS) : place]]
    after = track.sigmas[bisect_right(track.times_s, jump.at_s) :]
    usual = median(before) if before else 0.0
    stated = norm(tuple(_stated(view, f"{station.id}.{q}", jump.at_s) for q in track.quantity.split("+")))
    if usual <= 0.0 or stated <= DOUBTED_SIGMAS * usual:
        return None
    # another epoch that is as sure as usual, or so many that agree, says more than the error of the first
    if len(after) >= AGREEING or any(norm(s) <= DOUBTED_SIGMAS * usual for s in after):
        return None
    return _UNSURE(n=Figure(stated / usual, ".1f"))


def find_mirrored(context: DecisionContext, criterion: Criterion, spec: SeriesSpec, jump: Jump) -> Message | None:
    """Why a jump is that of a reference: what was taken off jumped then, by as much the other way; else None."""
    if not (sources := find_sources(context.site).get(spec.station, ())):
        return None
    taken: list[Vector] = [(0.0,) * len(jump.size)]
    for source in sources:
        near = (one for one in context.track(criterion, source).jumps if len(one.size) == len(jump.size))
        taken += [one.size for one in near if one.before_s < jump.at_s and jump.before_s < one.at_s]
    left = norm(tuple(x + fsum(parts) / len(sources) for x, *parts in zip(jump.size, *taken, strict=True)))
    limit = min(MIRRORED * jump.length, verify_step(spec, criterion) or inf)
    return _MIRRORED(names=NameList(tuple(sources))) if len(taken) > 1 and left <= limit else None


def _stated(view: DecisionInputs, key: str, at_s: float) -> float:
    readings = view.readings.get(key, ())
    place = bisect_left(readings, at_s, key=lambda r: seconds(r.observed_at))
    if place >= len(readings) or seconds(readings[place].observed_at) != at_s:
        return 0.0
    return readings[place].sigma or 0.0


def _upslope_mm(station: Station, track: Track, jump: Jump) -> float:
    """How far a jump goes against the direction of movement; 0 where nobody declared it, or mostly aside."""
    if len(jump.size) == 1:
        return -jump.size[0] if track.quantity in DOWNSLOPE else 0.0
    unit = direction(station, len(jump.size))
    if unit is None:
        return 0.0
    against = -fsum(map(mul, jump.size, unit))
    return against if against >= 0.5 * jump.length else 0.0


_SEEN: Final = Template("step.seen", "step of {size} at {station}")
_BECAUSE: Final = Template("step.because", "{step}: {text}")
_AT_EVENT: Final = Template("step.at_event", "{step} at the time of {word} ({text})")
_AT_KIND: Final = Template("step.at_kind", "{step} at the time of {word}")
_CONFIRMED: Final = Template("step.event_confirmed", "event {n} by {way}, confirmed by {names}")
_UNCONFIRMED: Final = Template("step.event_unconfirmed", "event {n} by {way}, which nobody has confirmed")
_STANDS_AGAIN: Final = Template("step.stands_again", "the station stands again where it stood before")
_EVENT_WITHDRAWN: Final = Template(
    "step.event_withdrawn", "asked again, for event {n}, which explained it, was withdrawn"
)
_EVENT_DOUBTED: Final = Template(
    "step.event_doubted", "asked again, for event {n}, which explained it, is confirmed by nobody any more"
)
_ANSWER_WITHDRAWN: Final = Template("step.answer_withdrawn", "asked again, for its answer was withdrawn")
_SILENCE: Final = Template("step.silence", "silence followed it")
_AS_WELL: Final = Template("step.as_well", "{station}, which is independent, stepped as well")
_OBSERVED: Final = attrgetter("observed_at")
ACTIVE = frozenset({"counted", "movement"})
MOVEMENT = "movement"
CAUSES = ("instrument", "weather", "work", "earthquake", "other")  # of what was no movement of the slope
EARTHQUAKE = "earthquake"
EVENT = "event"  # explained by an earthquake that people stand behind, unanswered
BEFORE = "before"  # older than the watch on its station: a notice for a person, and no question with a clock
DOUBTFUL = "doubtful"  # the instrument itself does not vouch for it: a question without a clock
RETURNED = "returned"  # it counted, and the station stands where it stood before: it counts no more
QUIET = frozenset({"instrument", BEFORE, RETURNED})  # what leaves nothing unsure
UNKNOWN_NOISE: Final = Template(
    "step.unknown_noise", "silence followed it, and how much this instrument scatters is not known yet"
)()
UNANSWERED: Final = Template("step.unanswered", "nobody answered in time that it was an instrument")()
COMMIT_S = 120.0  # a reading may be committed this long after its reception and still be news
SHAKING_S = 6 * 3600.0  # an earthquake with its aftershocks; one that is said to last longer explains no more steps


@dataclass(frozen=True, slots=True)
class StepCandidate:
    """A jump as a criterion's track shows it."""

    station: str
    jump: Jump
    level: int
    quantity: str
    before: bool = False
    doubt: Message | None = None
    mirrored: bool = False  # what is taken off jumped then, by as much the other way


def high_level(site: Site) -> int:
    """The lower of the two highest levels, which nothing hides on one person's word."""
    return max(1, site.top_level - 1)


def says_no(answer: str | None) -> bool:
    """True when a person said that it was no movement of the slope, whatever else it was.

    >>> says_no("weather"), says_no("movement"), says_no(None)
    (True, False, False)
    """
    return answer is not None and answer != MOVEMENT


def state_after(answer: str) -> str:
    """The state of a step that a person answered."""
    return "instrument" if says_no(answer) else MOVEMENT


def find_step_candidates(
    context: DecisionContext, tracks: Iterable[tuple[Criterion, Track]]
) -> dict[StepKey, StepCandidate]:
    """Jumps in all tracks, by key, each with the level it would ask for as movement."""
    found: dict[StepKey, StepCandidate] = {}
    seen_s = context.memory.seen_s
    known_before_s = float("-inf") if seen_s is None else seen_s - COMMIT_S
    for criterion, track in tracks:
        spec = context.site.series(track.station, criterion.quantity)
        if spec is None or criterion.role != "witness":
            continue
        silence_s = context.find_silence_s(spec)
        unsure = list_unsure(context, track)
        for jump in (*track.jumps, *unsure):
            key = StepKey(track.station, jump.at_s)
            is_open = key in context.memory.steps or was_answered(context.memory, key)
            if not is_open and jump.known_s <= known_before_s and jump not in unsure:
                continue  # seen before and not found a step: the window has slid, nothing has happened
            level = max(_find_exceeded(criterion, jump), 1 if is_sudden(context, spec, jump) else 0)
            known = found.get(key)
            if level > 0 and (known is None or level > known.level):
                started_s = context.memory.started_s if context.memory.started_s is not None else context.now_s
                old = jump.at_s < max(started_s, min(track.received_s, default=started_s)) - silence_s
                station = context.site.station(track.station)
                doubt = None if station is None else find_doubt(context.view, station, track, jump)
                mirrored = find_mirrored(context, criterion, spec, jump)
                doubt = UNKNOWN_NOISE if jump in unsure else doubt or mirrored
                found[key] = StepCandidate(
                    track.station, jump, level, spec.quantity, before=old, doubt=doubt, mirrored=mirrored is not None
                )
    return found


def is_sudden(context: DecisionContext, spec: SeriesSpec, jump: Jump) -> bool:
    """Whether a jump happened between two readings that follow each other; one across a longer gap may be motion."""
    return jump.at_s - jump.before_s <= max(context.find_silence_s(spec), 2.0 * spec.interval_s)


def _find_exceeded(criterion: Criterion, jump: Jump) -> int:
    """The highest level whose bound a jump exceeds, spread over that level's window, or over its gap if longer."""
    level = 0
    for threshold in criterion.thresholds if criterion.kind.rate else ():
        window_s = max(threshold.effective_window_s, jump.at_s - jump.before_s)
        bound, sign = bound_of(threshold)
        if sign * bound > 0 and jump.length * 86400.0 / window_s > abs(bound):
            level = max(level, threshold.level)
    return level


def list_unsure(context: DecisionContext, track: Track) -> tuple[Jump, ...]:
    """A jump that may be noise or not, when silence follows: nothing that is to come will show which."""
    if not track.early or not track.times_s:
        return ()
    key = StepKey(track.station, track.early[-1].at_s)
    silent = context.now_s - track.times_s[-1] > _silence_s(context, track.station) and not context.view.draining
    return track.early[-1:] if silent or key in context.memory.steps else ()


def update_steps(
    memory: Memory,
    sightings: Mapping[StepKey, StepCandidate],
    tracks: Tracks,
    context: DecisionContext,
    groups: Groups,
    common: Iterable[str],
) -> dict[StepKey, Step]:
    """Steps after this look: new ones start their clock, explained ones go, those whose time is over count.

    Args:
        common: stations whose steps are those of their reference.
    """
    shared = set(common)
    pairs = [k for k, s in memory.steps.items() if _may_pair(context, s) and k.station not in shared]
    unresolved = list_unresolved(context.site, memory.steps, tracks, pairs, groups)
    steps = _keep_steps(memory, sightings, tracks, context, unresolved)
    for key, seen in sightings.items():
        if key not in steps:
            answered = memory.answers.get(key)
            state = BEFORE if seen.before else DOUBTFUL if seen.doubt else "pending"
            spec = context.site.series(seen.station, seen.quantity)
            size = Figure(seen.jump.length, ".1f", spec.unit if spec else "")
            reason = _SEEN(size=size, station=seen.station)
            if state == DOUBTFUL and seen.doubt is not None:
                reason = _because(reason, seen.doubt)
            state = state_after(answered) if answered else state
            steps[key] = Step(
                at_s=seen.jump.at_s,
                known_s=context.now_s,
                size=seen.jump.length,
                level=seen.level,
                state=state,
                reason=reason,
                quantity=seen.quantity,
            )
    for key, step in list(steps.items()):
        seen_before_s = sightings[key].jump.before_s if key in sightings else None
        steps[key] = _annotate(step, list_events_at(context, key, step, seen_before_s), context.now_s)
    _count_steps(steps, shared, tracks, context, groups)
    return dict(sorted(steps.items()))


def _keep_steps(
    memory: Memory,
    sightings: Mapping[StepKey, StepCandidate],
    tracks: Tracks,
    context: DecisionContext,
    unresolved: Collection[StepKey],
) -> dict[StepKey, Step]:
    steps: dict[StepKey, Step] = {}
    for key, old in memory.steps.items():
        offset = has_offset(context, key.station, old.at_s)
        # the level may still rest on a step that came back: what it was read from must stay known
        rested_on = old.state == RETURNED and StepVote(key) in memory.supporters
        explained = _is_explained(old, tracks.get(key.station, []), offset)
        if key in sightings or key in unresolved or rested_on or not explained:
            answered = memory.answers.get(key)
            steps[key] = (
                replace(old, state=state_after(answered))
                if answered
                else _update_unanswered(old, sightings.get(key), tracks.get(key.station, ()), context)
            )
    return steps


def _count_steps(
    steps: dict[StepKey, Step], shared: Collection[str], tracks: Tracks, context: DecisionContext, groups: Groups
) -> None:
    single = {k for k, s in steps.items() if _is_answered_by_one(context, k, s)}
    company = [
        k
        for k, s in steps.items()
        if (_may_pair(context, s) or k in single)
        and k.station not in shared
        and find_fate(s, tracks.get(k.station, ())) != BACK
    ]
    for key, step in list(steps.items()):
        if step.state in {"pending", "counted", EVENT} or key in single:
            why = _why_it_counts(key, step, steps, company, tracks, context, groups)
            state = "counted" if why == UNANSWERED else "movement"
            if why is not None and state != step.state and not (key in single and why == UNANSWERED):
                steps[key] = replace(step, state=state, reason=_because(step.reason, why), words=None)


def _update_unanswered(
    step: Step, seen: StepCandidate | None, tracks: Iterable[Track], context: DecisionContext
) -> Step:
    """What later epochs make of a step that no person answered: doubt that is gone, a value that came back.

    Only the value itself takes a step back that counts; silence never does.
    """
    if (step.state == DOUBTFUL and seen is not None and seen.doubt is None) or (step.state == RETURNED and seen):
        return replace(step, state="pending", known_s=context.now_s, reason=without_cause(step.reason))
    if step.state in ACTIVE and find_fate(step, tracks) == BACK and stands_again(context.view, tracks, step):
        return replace(step, state=RETURNED, reason=_because(step.reason, _STANDS_AGAIN()))
    return step


def _may_pair(context: DecisionContext, step: Step) -> bool:
    """True for a step that another group's makes count; one person's event hides neither of the two highest levels."""
    high = high_level(context.site)
    return step.state in COMPANY or (step.state == EVENT and step.words == 1 and step.level >= high)


def _is_answered_by_one(context: DecisionContext, key: StepKey, step: Step) -> bool:
    """True for a step that one person alone called none when it asked for less than it might: it asks anew with more.

    What silence follows, or an independent station shares, is not hidden by one word where it asks for a high level.
    """
    height = context.memory.heights.get(key)
    high = high_level(context.site)
    return step.state == "instrument" and height is not None and height < high <= step.level


def requested_level(step: Step) -> int:
    """What a step asks for now.

    A lone step whose station goes on speaking, and which nobody answered, asks for the lowest hazard level; one that
    silence followed, that an independent station shares, or that a person calls movement, for what it is as a rate.
    """
    return {"counted": min(1, step.level), "movement": step.level}.get(step.state, 0)


def _is_explained(step: Step, tracks: Sequence[Track], offset: bool) -> bool:
    """True when the data no longer ask: an offset was entered, or it was pending and is no longer seen.

    A step that counts is movement until a person says no, or until the value comes back (`_update_unanswered`).
    """
    if step.state == "instrument" or offset:
        return True  # nothing more to remember than the answer, which is kept apart
    if step.state == BEFORE:
        return bool(tracks)
    if step.state == RETURNED:  # shown as long as the epochs are
        return bool(tracks) and not any(t.times_s and t.times_s[0] < step.at_s for t in tracks)
    reaching = [t for t in tracks if t.times_s and t.times_s[0] < step.at_s <= t.times_s[-1]]
    return step.state in {"pending", DOUBTFUL, EVENT} and bool(reaching)


def _annotate(step: Step, declared: list[EventFact], now_s: float) -> Step:
    """Say what happened at the time of a step; an earthquake that people stand behind explains one that waits.

    What nobody stands behind is said and changes nothing. Nothing is hidden: the question stays open until a person has
    answered, silence after the step is movement all the same, and what counts already goes on counting.
    """
    step = _take_back(step, [e for e in declared if is_earthquake(e.kind)], now_s)
    events = [e for e in declared if not e.withdrawn]
    if not events:
        return step
    quake = max((e for e in events if is_earthquake(e.kind)), key=lambda e: e.words, default=None)
    event = quake or events[-1]
    if without_cause(step.reason).id == _SEEN.id:
        details: list[Value] = [event.text[:80]] if event.text else []
        if is_earthquake(event.kind):
            way, by = Term(event.via), NameList(event.confirmed_by, conjunction=True)
            details.append(
                _CONFIRMED(n=event.id, way=way, names=by) if event.words else _UNCONFIRMED(n=event.id, way=way)
            )
        seen, kind = without_cause(step.reason), Term(event.kind)
        seen = _AT_EVENT(step=seen, word=kind, text=join(details)) if details else _AT_KIND(step=seen, word=kind)
        step = replace(
            step, reason=_BECAUSE(step=seen, text=step.reason.values["text"]) if step.reason.id == _BECAUSE.id else seen
        )
    if quake is None or quake.words == 0:
        return step
    if step.state in {"pending", EVENT}:
        return replace(step, state=EVENT, words=max(quake.words, step.words or 0))
    return step


def _take_back(step: Step, quakes: list[EventFact], now_s: float) -> Step:
    """Ask again, with a new clock, where nobody stands any more behind what explained a step.

    Only what was withdrawn does so: an earthquake that is merely out of sight explains on.
    """
    gone = next((e for e in quakes if e.withdrawn or e.doubted), None)
    if gone is None or step.state != EVENT or step.words is None:
        return step
    if words := max(e.words for e in quakes):
        return replace(step, words=min(step.words, words))
    why = (_EVENT_WITHDRAWN if gone.withdrawn else _EVENT_DOUBTED)(n=gone.id)
    seen = without_cause(step.reason)
    seen = cast("Message", seen.values.get("step", seen))
    return replace(step, state="pending", known_s=now_s, words=None, reason=_because(seen, why))


def without_cause(reason: Message) -> Message:
    """What was seen of a step, and at which event, without why it counts or is asked about."""
    return cast("Message", reason.values["step"]) if reason.id == _BECAUSE.id else reason


def reopen_step(reason: Message) -> Message:
    """The reason of a step whose answer was withdrawn."""
    return _because(reason, _ANSWER_WITHDRAWN())


def _because(reason: Message, why: Message) -> Message:
    return _BECAUSE(step=without_cause(reason), text=why)


def list_events_at(
    context: DecisionContext, key: StepKey, step: Step, before_s: float | None = None
) -> list[EventFact]:
    """Declared events between the last reading before a step and its first one, one interval more before them.

    A solution over a day or an hour shows what happened within it in two epochs. An earthquake is over within
    `SHAKING_S` whatever end was given: one word must not keep the steps of weeks to come from counting.
    """
    if not context.view.events:
        return []
    one_s = interval_s(context.site, key.station)
    from_s = (step.at_s - one_s if before_s is None else before_s) - one_s
    return [
        e
        for e in context.view.events
        if e.from_s <= step.at_s
        and (min(e.to_s, e.from_s + SHAKING_S) if is_earthquake(e.kind) else e.to_s) >= from_s
        and e.received_s <= context.now_s
    ]


def is_earthquake(kind: str) -> bool:
    """True however people or programs spell the kind.

    >>> is_earthquake(" Earthquake"), is_earthquake("blasting")
    (True, False)
    """
    return kind.strip().lower() == EARTHQUAKE


def has_offset(context: DecisionContext, station: str, at_s: float) -> bool:
    """True when an offset of the station begins between the last reading before an instant and that instant."""
    at = instant(at_s)
    for _, readings in context.list_readings(station):
        place = bisect_left(readings, at, key=_OBSERVED)
        if 0 < place < len(readings) and readings[place - 1].offset_applied != readings[place].offset_applied:
            return True
    return False


def _why_it_counts(
    key: StepKey,
    step: Step,
    steps: Steps,
    company: Sequence[StepKey],
    tracks: Tracks,
    context: DecisionContext,
    groups: Groups,
) -> Message | None:
    site, station = context.site, key.station
    mine = tracks.get(station, [])
    newest_s = max((t.newest_s for t in mine if t.newest_s is not None), default=step.at_s)
    if newest_s <= step.at_s and context.now_s - step.at_s > _silence_s(context, station) and not context.view.draining:
        return _SILENCE()
    if step.state == EVENT and not _may_pair(context, step):
        return None
    is_over = context.now_s >= step.known_s + clock_s(site, station)
    for other in find_partners(site, key, steps, company, groups):
        theirs = tracks.get(other.station, [])
        words = {is_confirmed(context, key, step, mine), is_confirmed(context, other, steps[other], theirs)}
        if False not in words and (is_over or words == {True}):
            return _AS_WELL(station=other.station)
    return UNANSWERED if is_over and step.state != EVENT else None


def _silence_s(context: DecisionContext, station: str) -> float:
    known = context.site.station(station)
    return max((context.find_silence_s(s) for s in known.series), default=0.0) if known else 0.0
