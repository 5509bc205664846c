"""When many instruments say the same thing because they share a reference; who is independent is the site's to say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Final

from monitor.decision.series.vectors import Vector, minus, norm

COMPANY: Final = 1.0 / 3.0  # of a leader's motion; measured on drifts and lone rovers at noise of 0.5 to 2.5 mm
AGREEMENT: Final = 0.1  # a shifted reference moves all rovers alike; beyond this share and their errors they differ


@dataclass(frozen=True, slots=True)
class StationMotion:
    """How a station moves now: mm/day by component, or mm for a step."""

    station: str
    vector: Vector
    error: float
    moving: bool


def move_as_one(rovers: Sequence[StationMotion], controls: Sequence[StationMotion], *, others_move: bool) -> bool:
    """True when all rovers of one reference move alike and nothing else does: the reference is the suspect.

    The first one over a bound is not alone when the others follow: each moves by more than its error, and more like
    one that is over than like a station that stands. A control station on the same reference that stands still clears
    the reference; so does motion elsewhere.
    """
    leaders = [r for r in rovers if r.moving]
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
