"""Common motion: when all rovers of one reference move alike and nothing else does, the reference is the suspect."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, sqrt
from typing import Final

from monitor.decision.criteria.rates import assess_rates
from monitor.decision.keys import StepKey, VoteKey
from monitor.decision.series.assessment import Assessments, DecisionContext
from monitor.decision.series.steps import StepCandidate
from monitor.decision.series.vectors import Vector, minus, norm
from monitor.sites.records import Site, Station
from monitor.sites.witnesses import OBSERVERS, Groups, find_sources
from monitor.text.message import Message, NameList, Template

COMPANY: Final = 1.0 / 3.0  # of a leader's motion; measured on drifts and lone rovers at noise of 0.5 to 2.5 mm
AGREEMENT: Final = 0.1  # a shifted reference moves all rovers alike; beyond this share and their errors they differ


@dataclass(frozen=True, slots=True)
class StationMotion:
    """How a station moves now: mm/day by component, or mm for a step."""

    station: str
    vector: Vector
    error: float
    moving: bool


def move_as_one(
    rovers: Sequence[StationMotion],
    controls: Sequence[StationMotion],
    *,
    others_move: bool,
    taken_off: Sequence[StationMotion] = (),
) -> bool:
    """True when all rovers of one reference move alike and nothing else does: the reference is the suspect.

    The first one over a bound is not alone when the others follow: each moves by more than its error, and more like
    one that is over than like a station that stands. A control station on the same reference that stands still clears
    the reference; so does motion elsewhere, and its own record where that was taken off the rovers and stands still.
    """
    leaders = [r for r in rovers if r.moving]
    if taken_off and not any(one.moving or follows(one, leaders) for one in taken_off):
        return False
    if len(rovers) < 2 or others_move or not all(r.moving or follows(r, leaders) for r in rovers):
        return False
    if len({len(r.vector) for r in rovers}) != 1 or not all(c.moving or follows(c, leaders) for c in controls):
        return False
    middle = tuple(sorted(r.vector[k] for r in rovers)[len(rovers) // 2] for k in range(len(rovers[0].vector)))
    size = norm(middle)
    return all(norm(minus(r.vector, middle)) <= AGREEMENT * size + 3.0 * r.error for r in rovers)


def follows(rover: StationMotion, leaders: Iterable[StationMotion]) -> bool:
    """True when a station below its bound moves along with one that is over it, by more than its own error.

    Only what it does in the leader's direction is looked at. The one that crosses first does so with the help of noise,
    so the others lag behind it: a third of its motion is company.
    """
    return any(
        along >= COMPANY * size and along > rover.error / sqrt(len(rover.vector))
        for m in leaders
        if len(m.vector) == len(rover.vector) and (size := norm(m.vector)) > 0.0
        for along in (fsum(a * b for a, b in zip(rover.vector, m.vector, strict=True)) / size,)
    )


MOVE_ALIKE: Final = Template(
    "question.move_as_one", "{stations} move as one on reference {reference}, and nothing else moves"
)


def find_common(
    context: DecisionContext, assessments: Assessments, candidates: Mapping[StepKey, StepCandidate], groups: Groups
) -> tuple[dict[str, tuple[str, ...]], dict[str, Message]]:
    """References whose rovers move as one: reference -> stations, and reference -> sentence."""
    site = context.site
    unanswered = (s for k, s in candidates.items() if context.memory.answers.get(k) is None)
    open_steps = {s.station: s.jump.size for s in unanswered if not s.mirrored}  # else it is known: it hides no motion
    moving = {*open_steps, *_list_moving(site, assessments)}
    leaders = {*open_steps, *(w.station for w in assessments if w.fresh and w.raise_level > 0)}
    found: dict[str, tuple[str, ...]] = {}
    sentences: dict[str, Message] = {}
    for reference in sorted({s.reference for s in site.stations if s.reference is not None}):
        members = [s for s in site.stations if s.reference == reference]
        others = _moves_elsewhere(members, moving, groups)
        # while a backlog drains nothing is fresh: what was seen is neither over nor confirmed, unless others move now
        known = reference in context.memory.common and not others
        leads = not others and any(s.on_slope and s.id in leaders for s in members)
        if not known and not leads:
            continue  # nobody to follow: no motion need be measured
        if moved := _find_moved(context, assessments, open_steps, members, others=others, known=known):
            found[reference] = tuple(sorted(moved))
            sentences[reference] = MOVE_ALIKE(stations=NameList(found[reference]), reference=reference)
    return found, sentences


def _list_moving(site: Site, assessments: Assessments) -> set[str]:
    """Witnesses that ask for a level by measured motion, or by what people saw."""
    telling = {c.id for c in site.criteria if c.kind.motion or c.kind.source == "observers"}
    return {w.station for w in assessments if w.raise_level > 0 and w.criterion in telling}


def _moves_elsewhere(members: Sequence[Station], moving: Collection[str], groups: Groups) -> bool:
    mine = {groups[s.id] for s in members}
    return any(groups.get(s, s) not in mine or s == OBSERVERS for s in moving)


def _find_moved(
    context: DecisionContext,
    assessments: Assessments,
    open_steps: Mapping[str, Vector],
    members: Sequence[Station],
    *,
    others: bool,
    known: bool,
) -> set[str]:
    """Rovers of one reference that move as one, and where that is known already those that are silent now."""
    rovers = [m for s in members if s.on_slope for m in _motions(assessments, open_steps, s)]
    controls = [m for s in members if not s.on_slope for m in _control(context, s, open_steps)]
    sources = {name for s in members for name in find_sources(context.site).get(s.id, ())}
    own = [m for s in context.site.stations if s.id in sources for m in _control(context, s, open_steps)]
    mirrored = [replace(m, vector=tuple(-x for x in m.vector)) for m in own]
    alike = move_as_one(rovers, controls, others_move=others, taken_off=mirrored)
    moved = {r.station for r in rovers} if alike else set()
    silent = {s.id for s in members if s.on_slope and _says_nothing(context, s, rovers)} if known else set()
    return moved | silent


def _says_nothing(context: DecisionContext, station: Station, rovers: Sequence[StationMotion]) -> bool:
    """True for a rover whose vote lives and which is not heard now: its silence does not make the vote count."""
    if context.inputs.draining:
        return True
    votes = (context.memory.votes.get(VoteKey(c.id, station.id)) for c in context.site.criteria if c.kind.motion)
    lives = any(v is not None and v.level > 0 and v.valid_until_s >= context.now_s for v in votes)
    return lives and all(r.station != station.id for r in rovers)


def _motions(assessments: Assessments, open_steps: Mapping[str, Vector], station: Station) -> list[StationMotion]:
    """The motion of a rover that is heard: its open step, else its velocity."""
    mine = [w for w in assessments if w.station == station.id and w.motion is not None]
    if station.id in open_steps:
        error = max((w.motion_error for w in mine), default=0.0)
        return [StationMotion(station.id, open_steps[station.id], error, moving=True)]
    fresh = [w for w in mine if w.fresh]
    if not fresh:
        return []
    best = max(fresh, key=lambda w: (w.raise_level, w.criterion))
    assert best.motion is not None
    return [StationMotion(station.id, best.motion, best.motion_error, moving=best.raise_level > 0)]


def _control(context: DecisionContext, station: Station, open_steps: Mapping[str, Vector]) -> list[StationMotion]:
    """The motion of a control station; it never votes, it only clears or burdens its reference."""
    criterion = next((c for c in context.site.criteria if c.kind.velocity), None)
    spec = context.site.series(station.id, criterion.quantity) if criterion else None
    if criterion is None or spec is None:
        return []
    track = context.track(criterion, station.id)
    if track.usable_s is None or track.is_stuck or not context.is_fresh(track.usable_s, spec):
        return []
    if track.jumps or station.id in open_steps:
        return [
            StationMotion(station.id, track.jumps[-1].size if track.jumps else open_steps[station.id], 0.0, moving=True)
        ]
    # it is asked with the lowest bound alone
    lenient = replace(criterion, thresholds=criterion.thresholds[:1], direction="norm")
    found = assess_rates(lenient, track, spec, context)
    return [StationMotion(station.id, found.motion, found.motion_error, found.raise_level > 0)] if found.motion else []
