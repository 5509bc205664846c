"""Find reference stations that may have moved: all stations measured against one of them move alike.

GNSS positions are measured against a reference (base) station. If the reference moves, every station measured against
it (a *rover*) seems to move by the same vector in the opposite direction. `find_common_motion` gets the assessments and
the jumps of this evaluation. For each reference whose rovers move alike while nothing else moves, it returns the
rovers and a sentence. The decision then sets the votes of these rovers aside until a deadline, and asks a person.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, sqrt
from typing import Final, NamedTuple

from monitor.decision.criteria.rates import assess_rates
from monitor.decision.keys import StepKey, VoteKey
from monitor.decision.series.assessment import Assessments, DecisionContext
from monitor.decision.series.steps import StepCandidate
from monitor.readings.cleaned.vectors import Vector, minus, norm
from monitor.sites.records import Site, Station
from monitor.sites.witnesses import OBSERVERS, Groups
from monitor.text.message import Message, NameList, Template

# A station moves with a leader if it moves by at least this share of the leader's motion. Determined from simulated
# drifts and single moving rovers with noise of 0.5 to 2.5 mm.
MIN_SHARE_OF_LEADER: Final = 1.0 / 3.0
# Rovers of a moved reference move alike. They differ from their median by at most this share and by three errors.
AGREEMENT: Final = 0.1
MOVE_ALIKE: Final = Template(
    "question.move_as_one", "{stations} move alike against reference {reference}, and nothing else moves"
)


@dataclass(frozen=True, slots=True)
class StationMotion:
    """The present motion of a station.

    Attributes:
        vector: Velocity by component, mm/day; or the size of an open step, mm.
        error: One standard error of the vector, all components together.
        is_moving: Whether the motion exceeds a bound, or is an open step.
    """

    station: str
    vector: Vector
    error: float
    is_moving: bool


class CommonReferences(NamedTuple):
    """References that may have moved.

    Attributes:
        stations: Rovers that move alike, by reference.
        sentences: Text for people, by reference.
    """

    stations: dict[str, tuple[str, ...]]
    sentences: dict[str, Message]


def find_common_motion(
    context: DecisionContext, assessments: Assessments, candidates: Mapping[StepKey, StepCandidate]
) -> CommonReferences:
    """Return the references whose rovers move alike while nothing else moves.

    Args:
        context: The context.
        assessments: Assessments of the values that count.
        candidates: Jumps of this evaluation.
    """
    site = context.site
    groups = context.prepared.groups
    open_steps = _list_open_steps(context, candidates)
    moving = {*open_steps, *_list_moving_witnesses(site, assessments)}
    leaders = {*open_steps, *(a.station for a in assessments if a.fresh and a.raise_level > 0)}
    stations: dict[str, tuple[str, ...]] = {}
    sentences: dict[str, Message] = {}
    for reference in sorted({station.reference for station in site.stations if station.reference is not None}):
        members = [station for station in site.stations if station.reference == reference]
        others_move = _moves_elsewhere(members, moving, groups)
        # While a backlog is stored no assessment is fresh, so a known common motion can neither end nor be confirmed.
        # It only ends if another group moves.
        is_known = reference in context.memory.common and not others_move
        has_leader = not others_move and any(station.on_slope and station.id in leaders for station in members)
        if not is_known and not has_leader:
            # Without a leader the motion of the members need not be computed.
            continue
        moved = _find_moved(context, assessments, open_steps, members, others_move=others_move, is_known=is_known)
        if moved:
            stations[reference] = tuple(sorted(moved))
            sentences[reference] = MOVE_ALIKE(stations=NameList(stations[reference]), reference=reference)
    return CommonReferences(stations, sentences)


def _list_open_steps(context: DecisionContext, candidates: Mapping[StepKey, StepCandidate]) -> dict[str, Vector]:
    """Return the size of unanswered jumps by station. Jumps of a subtracted reference are explained already."""
    return {
        candidate.station: candidate.jump.size
        for key, candidate in candidates.items()
        if context.memory.answers.get(key) is None and not candidate.is_mirrored
    }


def _list_moving_witnesses(site: Site, assessments: Assessments) -> set[str]:
    """Return the witnesses that request a level because of measured motion or reports of observers."""
    criteria = {
        criterion.id for criterion in site.criteria if criterion.kind.motion or criterion.kind.source == "observers"
    }
    return {a.station for a in assessments if a.raise_level > 0 and a.criterion in criteria}


def _moves_elsewhere(members: Sequence[Station], moving: Collection[str], groups: Groups) -> bool:
    """Return whether a witness moves that is independent of the rovers of a reference."""
    groups_of_members = {groups[station.id] for station in members}
    return any(groups.get(witness, witness) not in groups_of_members or witness == OBSERVERS for witness in moving)


def _find_moved(
    context: DecisionContext,
    assessments: Assessments,
    open_steps: Mapping[str, Vector],
    members: Sequence[Station],
    *,
    others_move: bool,
    is_known: bool,
) -> set[str]:
    """Return the rovers of a reference that move alike. Of a known common motion, silent rovers remain part."""
    rovers: list[StationMotion] = []
    controls: list[StationMotion] = []
    for station in members:
        if station.on_slope:
            rovers += _measure_rover(assessments, open_steps, station)
        else:
            controls += _measure_control(context, station, open_steps)
    sources = context.prepared.sources
    subtracted_names = {name for station in members for name in sources.get(station.id, ())}
    subtracted: list[StationMotion] = []
    for station in context.site.stations:
        if station.id in subtracted_names:
            subtracted += _measure_control(context, station, open_steps)
    # A subtracted reference appears in the series of the rovers with the opposite sign.
    mirrored = [replace(motion, vector=tuple(-x for x in motion.vector)) for motion in subtracted]
    moved: set[str] = set()
    if move_alike(rovers, controls, others_move=others_move, subtracted=mirrored):
        moved = {rover.station for rover in rovers}
    if is_known:
        moved |= {station.id for station in members if station.on_slope and _is_silent(context, station, rovers)}
    return moved


def _is_silent(context: DecisionContext, station: Station, rovers: Sequence[StationMotion]) -> bool:
    """Return whether a rover has a valid vote but no present motion. Its silence must not make the vote count."""
    if context.inputs.draining:
        return True
    if any(rover.station == station.id for rover in rovers):
        return False
    for criterion in context.site.criteria:
        vote = context.memory.votes.get(VoteKey(criterion.id, station.id)) if criterion.kind.motion else None
        if vote is not None and vote.level > 0 and vote.valid_until_s >= context.now_s:
            return True
    return False


# ---- comparison of motions -------------------------------------------------------------------------------------
def move_alike(
    rovers: Sequence[StationMotion],
    controls: Sequence[StationMotion],
    *,
    others_move: bool,
    subtracted: Sequence[StationMotion] = (),
) -> bool:
    """Return whether all rovers of a reference move alike and nothing else moves, so that the reference may have moved.

    A leader is a rover that exceeds a bound. All other rovers must at least move with it.

    Args:
        controls: Control stations on stable ground that are measured against the same reference. A control station at
            rest shows that the reference did not move.
        others_move: Whether an independent witness moves. Then the slope moves, not the reference.
        subtracted: Reference stations that are subtracted from the rovers, with reversed motion. If none of them moves,
            the reference did not move.
    """
    leaders = [rover for rover in rovers if rover.is_moving]
    if subtracted and not any(motion.is_moving or moves_with(motion, leaders) for motion in subtracted):
        return False
    if len(rovers) < 2 or others_move:
        return False
    if not all(motion.is_moving or moves_with(motion, leaders) for motion in (*rovers, *controls)):
        return False
    axes = {len(rover.vector) for rover in rovers}
    if len(axes) != 1:
        return False
    median_vector = tuple(sorted(column)[len(rovers) // 2] for column in zip(*(r.vector for r in rovers), strict=True))
    size = norm(median_vector)
    return all(norm(minus(r.vector, median_vector)) <= AGREEMENT * size + 3.0 * r.error for r in rovers)


def moves_with(motion: StationMotion, leaders: Iterable[StationMotion]) -> bool:
    """Return whether a station below its bound moves in the direction of a leader, by more than its own error.

    Noise helps the first station over its bound, so the others move less at that time. `MIN_SHARE_OF_LEADER` of the
    leader's motion is enough.
    """
    axes = len(motion.vector)
    for leader in leaders:
        size = norm(leader.vector)
        if len(leader.vector) != axes or size <= 0.0:
            continue
        along = fsum(a * b for a, b in zip(motion.vector, leader.vector, strict=True)) / size
        # The error is that of all components together. One component has its share.
        if along >= MIN_SHARE_OF_LEADER * size and along > motion.error / sqrt(axes):
            return True
    return False


# ---- motion of one station -------------------------------------------------------------------------------------
def _measure_rover(assessments: Assessments, open_steps: Mapping[str, Vector], station: Station) -> list[StationMotion]:
    """Return the motion of a rover: its open step, otherwise its velocity. Empty if neither is known."""
    with_motion = [a for a in assessments if a.station == station.id and a.motion is not None]
    if station.id in open_steps:
        error = max((a.motion_error for a in with_motion), default=0.0)
        return [StationMotion(station.id, open_steps[station.id], error, is_moving=True)]
    fresh = [a for a in with_motion if a.fresh]
    if not fresh:
        return []
    highest = max(fresh, key=lambda a: (a.raise_level, a.criterion))
    assert highest.motion is not None
    return [StationMotion(station.id, highest.motion, highest.motion_error, is_moving=highest.raise_level > 0)]


def _measure_control(
    context: DecisionContext, station: Station, open_steps: Mapping[str, Vector]
) -> list[StationMotion]:
    """Return the motion of a station on stable ground. Empty if it has no fresh track.

    Such a station never votes. It is compared with the lowest bound of the first criterion on velocity.
    """
    criterion = next((c for c in context.site.criteria if c.kind.velocity), None)
    spec = context.site.series(station.id, criterion.quantity) if criterion else None
    if criterion is None or spec is None:
        return []
    track = context.track(criterion, station.id)
    if track.usable_s is None or track.is_stuck or not context.is_fresh(track.usable_s, spec):
        return []
    if track.jumps:
        return [StationMotion(station.id, track.jumps[-1].size, 0.0, is_moving=True)]
    if station.id in open_steps:
        return [StationMotion(station.id, open_steps[station.id], 0.0, is_moving=True)]
    lowest = [threshold for threshold in criterion.thresholds if threshold.level == criterion.thresholds[0].level]
    lowest_bound = replace(criterion, thresholds=tuple(lowest), direction="norm")
    assessment = assess_rates(lowest_bound, track, spec, context)
    if not assessment.motion:
        return []
    is_moving = assessment.raise_level > 0
    return [StationMotion(station.id, assessment.motion, assessment.motion_error, is_moving)]
