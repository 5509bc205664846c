"""Who is independent of whom, and when many instruments say the same thing because they share a reference."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

from monitor.alerting.criteria.advice import OBSERVERS, SCENE
from monitor.alerting.criteria.registry import MEASURED
from monitor.alerting.jumps import Vector
from monitor.domain.site import Criterion, Site

AGREEMENT: Final = 0.1  # a shifted reference moves all rovers alike; beyond this share and their errors they differ


@dataclass(frozen=True, slots=True)
class Motion:
    """How a station moves now: mm/day by component, or mm for a step."""

    station: str
    vector: Vector
    error: float
    moving: bool


def find_groups(site: Site) -> dict[str, str]:
    """Independence group of every station: those that share a reference, logger or antenna are one witness.

    A station that is itself the reference of others belongs to them. Observers and images are groups of their own.
    """
    parent = {s.id: s.id for s in site.stations}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    owners: dict[tuple[str, str], str] = {}
    for station in site.stations:
        marks = [("reference", station.reference), ("logger", station.logger), ("antenna", station.antenna)]
        for kind, value in marks:
            if value is None:
                continue
            other = owners.setdefault((kind, value), station.id)
            parent[root(station.id)] = root(other)
            if kind == "reference" and value in parent:
                parent[root(station.id)] = root(value)
    members: dict[str, list[str]] = {}
    for station in site.stations:
        members.setdefault(root(station.id), []).append(station.id)
    groups = {s: min(found) for found in members.values() for s in found}
    return groups | {OBSERVERS: OBSERVERS, SCENE: SCENE}


def find_voting_series(site: Site) -> set[tuple[str, str]]:
    """(station on the slope, declared quantity) of every series that a measuring criterion of witness role reads."""
    return {(station, quantity) for _, station, quantity in _voices(site)}


def reach(site: Site, able: Collection[tuple[str, str]], groups: Mapping[str, str]) -> tuple[int, int]:
    """(highest level that the series which are able could raise, independent groups that could vote for the top)."""
    voices = [(c, station) for c, station, quantity in _voices(site) if (station, quantity) in able]
    tops = {groups[station] for c, station in voices if any(t.level >= site.top_level for t in c.thresholds)}
    # a person who may report the top level is a witness that is always there
    tops |= {
        OBSERVERS for c in site.criteria
        if c.kind == "report" and c.role == "witness" and any(t.level >= site.top_level for t in c.thresholds)
    }  # fmt: skip
    if len(tops) >= site.fusion.top_needs:
        return site.top_level, len(tops)
    levels = [min(t.level, site.top_level - 1) for c, _ in voices for t in c.thresholds]
    return max(levels, default=0), len(tops)


def _voices(site: Site) -> list[tuple[Criterion, str, str]]:
    return [
        (criterion, station, spec.quantity)
        for criterion in site.criteria
        if criterion.role == "witness" and criterion.kind in MEASURED
        for station in criterion.stations
        if (known := site.station(station)) is not None and known.on_slope
        and (spec := site.series(station, criterion.quantity)) is not None
    ]  # fmt: skip


def move_as_one(rovers: Sequence[Motion], controls: Sequence[Motion], *, others_move: bool) -> bool:
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
    size = sqrt(sum(v * v for v in middle))
    return all(_distance(r.vector, middle) <= AGREEMENT * size + 3.0 * r.error for r in rovers)


def follows(rover: Motion, leaders: Iterable[Motion]) -> bool:
    """True when a station below its bound moves like one that is over it, rather than not at all."""
    size = sqrt(sum(v * v for v in rover.vector))
    alike = (len(m.vector) == len(rover.vector) and _distance(rover.vector, m.vector) <= size for m in leaders)
    return size > rover.error and any(alike)


def _distance(one: Vector, other: Vector) -> float:
    return sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))
