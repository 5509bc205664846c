"""Limit the vote of a station whose neighbours do not move.

The motion of a slope decreases with distance, whereas a failing instrument moves alone. A vote without a moving
neighbour is limited to a level until its deadline, and a person is asked. After the deadline it counts in full.

The rule follows Dynaslope (PHIVOLCS): a node of a subsurface column votes only if a node within k <= 2 nodes moves at a
rate of at least v / 2^k. Here k counts multiples of a distance, `step_m` in the site file. That step is a distance, not
a jump of a station.

`check_neighbours` gets the assessments and votes of this evaluation, and returns the limited votes and the questions.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from monitor.decision.keys import VoteKey
from monitor.decision.records import Votes
from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext
from monitor.decision.series.step_states import MOVEMENT
from monitor.readings.cleaned.vectors import norm
from monitor.sites.fusion import Neighbours
from monitor.sites.ground import measure_ground_distance_m
from monitor.sites.records import Criterion, Station
from monitor.text.message import Figure, Message, Template, Term, Timestamp, join

_ALONE: Final = Template("neighbour.alone", "{station} moves alone: {text}")
_ALONE_WHEN_SEEN: Final = Template(
    "neighbour.none_moved_when_seen",
    "{station} moves alone: its neighbours did not move while they last had current readings",
)
_MOVES_LESS: Final = Template(
    "neighbour.too_slow",
    "{station}, {n} steps of distance away, moves by {n2} {unit}; at least {n3} {unit} would show that the slope moves",
)
_HELD: Final = Template("neighbour.limited", "counts for {level} at most because {text}")
_ANSWERED: Final = Template("neighbour.has_answer", "a person answered: {word}")
_IN_FULL: Final = Template("neighbour.until", "counts in full at {at} unless a person answers before")
# Prefix of the name of a question about a station that moves alone.
ALONE: Final = "alone:"
# Number of neighbours that a message names.
LISTED_NEIGHBOURS: Final = 3


@dataclass(frozen=True, slots=True)
class VoteCap:
    """The highest level that a vote may request now, and why."""

    level: int
    reason: Message


@dataclass(frozen=True, slots=True)
class _NeighbourMotion:
    """Motion of the neighbours of a station that can be judged now.

    Attributes:
        is_any_moving: Whether a neighbour moves together with the station.
        description: How the neighbours move if none of them moves together with the station; None if no neighbour can
            be judged.
    """

    is_any_moving: bool = False
    description: Message | None = None


@dataclass(frozen=True, slots=True)
class NeighbourCheck:
    """Votes of stations that move alone.

    Attributes:
        caps: The limit of each such vote.
        open_since_s: When each question about such a station was opened, by the name of the question.
        reasons: Why each question is open, by the name of the question.
    """

    caps: Mapping[VoteKey, VoteCap]
    open_since_s: Mapping[str, float]
    reasons: Mapping[str, Message]


def check_neighbours(
    context: DecisionContext,
    assessments: Assessments,
    votes: Votes,
    set_aside_reasons: Mapping[VoteKey, Message],
    under_maintenance: Collection[str] = (),
) -> NeighbourCheck:
    """Limit the votes above a level of stations whose neighbours do not move, until the deadline of the question.

    A missing, broken or silent neighbour never limits a vote. If a neighbour becomes silent after it did not move, the
    vote stays limited, because silence raises nothing. Two independent witnesses that request such a level support each
    other, whatever their distance.

    Args:
        set_aside_reasons: Votes that are set aside already, with the reason. Their stations are no neighbours.
        under_maintenance: Stations under maintenance. Their rest shows nothing about the slope.
    """
    site = context.site
    memory = context.memory
    now_s = context.now_s
    plan = site.fusion.neighbours
    if plan is None:
        return NeighbourCheck({}, {}, {})
    groups = context.prepared.groups
    above = _list_above(votes, plan, now_s)
    independent_groups = {groups.get(key.station, key.station) for key in above if key not in set_aside_reasons}
    if len(independent_groups) > 1:
        return NeighbourCheck({}, {}, {})
    caps: dict[VoteKey, VoteCap] = {}
    open_since_s: dict[str, float] = {}
    reasons: dict[str, Message] = {}
    for criterion in _list_checked(site.criteria, plan):
        by_station = {a.station: a for a in assessments if a.criterion == criterion.id}
        for name in criterion.stations:
            key = VoteKey(criterion.id, name)
            station = site.station(name)
            if station is None or key not in above:
                continue
            question = f"{ALONE}{name}"
            present = {
                neighbour: assessment
                for neighbour, assessment in by_station.items()
                if neighbour not in under_maintenance or neighbour == name
            }
            neighbours = _compare_with_neighbours(context, plan, station, criterion, present, set_aside_reasons)
            asked_s = memory.asked.get(question)
            # Only a neighbour that was seen at rest opens the question. Once open, it needs no neighbour to stay open.
            is_opened = neighbours.description is not None or asked_s is not None
            if neighbours.is_any_moving or not is_opened:
                continue
            since_s = now_s if asked_s is None else asked_s
            if neighbours.description is None:
                reason = _ALONE_WHEN_SEEN(station=name)
            else:
                reason = _ALONE(station=name, text=neighbours.description)
            open_since_s[question] = since_s
            reasons[question] = reason
            until = _describe_end(memory.answers.get(question), since_s + site.fusion.verify_within_s, now_s)
            if until is not None:
                limited = _HELD(level=Term(site.levels[plan.above].name), text=reason)
                caps[key] = VoteCap(plan.above, join([limited, until]))
    return NeighbourCheck(caps, open_since_s, reasons)


def _list_above(votes: Votes, plan: Neighbours, now_s: float) -> set[VoteKey]:
    """Return the valid votes for levels that need a moving neighbour."""
    return {key for key, vote in votes.items() if vote.level > plan.above and vote.valid_until_s >= now_s}


def _describe_end(answer: str | None, deadline_s: float, now_s: float) -> Message | None:
    """Return until when a vote is limited; None if it counts in full.

    The limit ends at the deadline, unless a person answered that it is no movement.
    """
    if answer == MOVEMENT or (answer is None and now_s >= deadline_s):
        return None
    return _ANSWERED(word=Term(answer)) if answer else _IN_FULL(at=Timestamp(deadline_s))


def _list_checked(criteria: Iterable[Criterion], plan: Neighbours) -> list[Criterion]:
    """Return the criteria whose votes need a moving neighbour: those declared, or all on velocity."""
    voting = [criterion for criterion in criteria if criterion.role != "advice"]
    if plan.criteria:
        return [criterion for criterion in voting if criterion.id in plan.criteria]
    return [criterion for criterion in voting if criterion.kind.velocity]


def _compare_with_neighbours(
    context: DecisionContext,
    plan: Neighbours,
    station: Station,
    criterion: Criterion,
    assessments: Mapping[str, Assessment],
    set_aside_reasons: Mapping[VoteKey, Message],
) -> _NeighbourMotion:
    """Compare the motion of a station with that of its neighbours with current readings."""
    moving = assessments.get(station.id)
    if moving is None or moving.motion is None:
        return _NeighbourMotion()
    speed = norm(moving.motion)
    slower = []
    spec = context.site.series(station.id, criterion.quantity)
    unit = "per day" if spec is None else f"{spec.unit}/day"
    for name, assessment in sorted(assessments.items()):
        other = context.site.station(name)
        if name == station.id or other is None or VoteKey(criterion.id, name) in set_aside_reasons:
            continue
        distance_m = measure_distance_m(station, other)
        if distance_m is None or assessment.motion is None or not assessment.fresh:
            continue
        distance_steps = max(1, ceil(distance_m / plan.step_m))
        if distance_steps > plan.steps:
            continue
        needed = speed / 2.0**distance_steps
        # Only a neighbour that is clearly slower limits a vote: its motion plus one standard error is compared.
        if norm(assessment.motion) + assessment.motion_error >= needed:
            return _NeighbourMotion(is_any_moving=True)
        moves = Figure(norm(assessment.motion), ".2f")
        slower.append(_MOVES_LESS(station=name, n=distance_steps, n2=moves, n3=Figure(needed, ".2f"), unit=unit))
    return _NeighbourMotion(description=join(slower[:LISTED_NEIGHBOURS])) if slower else _NeighbourMotion()


def measure_distance_m(station: Station, other: Station) -> float | None:
    """Return the horizontal distance of two stations, m; None if a position is not declared."""
    if station.latitude is None or station.longitude is None or other.latitude is None or other.longitude is None:
        return None
    return measure_ground_distance_m((station.latitude, station.longitude), (other.latitude, other.longitude))
