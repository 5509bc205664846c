"""Does the slope around a station move as well? A vote that nobody near shares is held down, asked about, and counts.

Motion of a slope decays with distance; an instrument that fails moves alone. Dynaslope (PHIVOLCS) lets a node of a
subsurface column vote only when a node within two steps moves at least v / 2^distance; here a step is a distance.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from monitor.decision.keys import VoteKey
from monitor.decision.records import Votes
from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext
from monitor.decision.series.vectors import norm
from monitor.sites.fusion import Neighbours
from monitor.sites.ground import measure_ground_distance_m
from monitor.sites.records import Criterion, Station
from monitor.sites.witnesses import Groups
from monitor.text.message import Figure, Message, Template, Term, Timestamp, join

_MOVES: Final = Template("neighbour.moves", "a neighbour moves along")()
_ALONE: Final = Template("neighbour.alone", "{station} moves alone: {text}")
_ALONE_WHEN_SEEN: Final = Template(
    "neighbour.alone_when_seen", "{station} moves alone, as far as its neighbours were last seen"
)
_MOVES_LESS: Final = Template(
    "neighbour.moves_less",
    "{station}, {n} steps of distance away, moves {n2} {unit} where {n3} {unit} would show that the slope moves",
)
_HELD: Final = Template("neighbour.held", "counts for {level} at most: {text}")
_ANSWERED: Final = Template("neighbour.answered", "answered: {word}")
_IN_FULL: Final = Template("neighbour.in_full", "counts in full at {at}")
ALONE: Final = "alone:"  # how the question about a station begins


@dataclass(frozen=True, slots=True)
class VoteCap:
    """How far a vote counts for now, and why."""

    level: int
    reason: Message


@dataclass(frozen=True, slots=True)
class NeighbourCheck:
    """Votes that no neighbour shares: held down by key, with the questions and the instant that each was opened."""

    caps: Mapping[VoteKey, VoteCap]
    open_since_s: Mapping[str, float]
    reasons: Mapping[str, Message]  # by question


def check_neighbours(
    context: DecisionContext,
    assessments: Assessments,
    votes: Votes,
    sick: Mapping[VoteKey, Message],
    groups: Groups,
    away: Collection[str] = (),
) -> NeighbourCheck:
    """Hold down votes above a level that no neighbour shares though one is seen, until the clock of the question ends.

    A neighbour that is missing, broken or silent never lowers a vote; and one that falls silent after it was seen to
    stand does not free the vote either: silence raises nothing. When the clock is over the vote counts in full.
    Two independent witnesses that ask for as much, wherever they are, are company to each other.

    Args:
        sick: votes that are set aside already: their stations are no neighbours.
        away: stations that people work on: that they stand still says nothing of the slope.
    """
    site, memory, now_s = context.site, context.memory, context.now_s
    plan = site.fusion.neighbours
    if plan is None:
        return NeighbourCheck({}, {}, {})
    above = _list_above(votes, plan, now_s)
    if len({groups.get(key.station, key.station) for key in above if key not in sick}) > 1:
        return NeighbourCheck({}, {}, {})
    caps: dict[VoteKey, VoteCap] = {}
    open_since_s: dict[str, float] = {}
    reasons: dict[str, Message] = {}
    for criterion in _list_checked(site.criteria, plan):
        mine = {w.station: w for w in assessments if w.criterion == criterion.id}
        for name in criterion.stations:
            key, question, station = VoteKey(criterion.id, name), f"{ALONE}{name}", site.station(name)
            if station is None or key not in above:
                continue
            others = {k: w for k, w in mine.items() if k not in away or k == name}
            still = _find_still(context, plan, station, criterion, others, sick)
            known_s = memory.asked.get(question)
            if still == _MOVES or (still is None and known_s is None):
                continue
            since_s = now_s if known_s is None else known_s
            reason = _ALONE(station=name, text=still) if still else _ALONE_WHEN_SEEN(station=name)
            open_since_s[question], reasons[question] = since_s, reason
            until = _find_end(memory.answers.get(question), since_s + site.fusion.verify_within_s, now_s)
            if until is not None:
                held = _HELD(level=Term(site.levels[plan.above].name), text=reason)
                caps[key] = VoteCap(plan.above, join([held, until]))
    return NeighbourCheck(caps, open_since_s, reasons)


def _list_above(votes: Votes, plan: Neighbours, now_s: float) -> set[VoteKey]:
    """Living votes for more than a lone one may ask for."""
    return {key for key, v in votes.items() if v.level > plan.above and v.valid_until_s >= now_s}


def _find_end(answer: str | None, full_s: float, now_s: float) -> Message | None:
    """Until when a lone vote is held down: for good by an answer, else until its clock ends; None where it counts."""
    if answer == "movement" or (answer is None and now_s >= full_s):
        return None
    return _ANSWERED(word=Term(answer)) if answer else _IN_FULL(at=Timestamp(full_s))


def _list_checked(criteria: Iterable[Criterion], plan: Neighbours) -> list[Criterion]:
    votes = (c for c in criteria if c.role != "advice")
    return [c for c in votes if (c.id in plan.criteria if plan.criteria else c.kind.velocity)]


def _find_still(
    context: DecisionContext,
    plan: Neighbours,
    station: Station,
    criterion: Criterion,
    assessments: Mapping[str, Assessment],
    sick: Mapping[VoteKey, Message],
) -> Message | None:
    """What the neighbours that are seen do instead of moving along; `_MOVES` = one does, None = none can be judged."""
    own = assessments.get(station.id)
    if own is None or own.motion is None:
        return None
    speed, found = norm(own.motion), []
    spec = context.site.series(station.id, criterion.quantity)
    unit = "per day" if spec is None else f"{spec.unit}/day"
    for name, assessment in sorted(assessments.items()):
        other = context.site.station(name)
        if name == station.id or other is None or VoteKey(criterion.id, name) in sick:
            continue
        distance_m = measure_distance_m(station, other)
        if distance_m is None or assessment.motion is None or not assessment.fresh:
            continue
        steps = max(1, ceil(distance_m / plan.step_m))
        if steps > plan.steps:
            continue
        needed = speed / 2.0**steps
        # what its error allows counts for the slope: only a neighbour that clearly stands holds a vote down
        if norm(assessment.motion) + assessment.motion_error >= needed:
            return _MOVES
        moves = Figure(norm(assessment.motion), ".2f")
        found.append(_MOVES_LESS(station=name, n=steps, n2=moves, n3=Figure(needed, ".2f"), unit=unit))
    return join(found[:3]) if found else None


def measure_distance_m(one: Station, other: Station) -> float | None:
    """Distance over the ground, m; None where a position is not declared."""
    if one.latitude is None or one.longitude is None or other.latitude is None or other.longitude is None:
        return None
    return measure_ground_distance_m((one.latitude, one.longitude), (other.latitude, other.longitude))
