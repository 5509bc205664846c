"""Who can speak for a slope, and who is independent of whom: one answer for the site file and for every decision."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from monitor.sites.fusion import Clause, can_become, list_affirmative_leaves, list_leaves
from monitor.sites.quantities import GROUND_MOTION_PREFIXES, ZONE_QUANTITIES
from monitor.sites.records import VELOCITY_MAP, BoundedMemo, Criterion, Site, once_per_record

KEPT_REACHED: Final = 256
OBSERVERS: Final = "observers"
SCENE: Final = "scene"
INSAR: Final = "insar"
EARTHQUAKE: Final = "earthquake"
Groups = Mapping[str, str]  # by witness: who is independent of whom
Shut = Mapping[tuple[str, str], Collection[int]]  # levels, by criterion and witness
SHARED: Final = ("reference", "logger", "antenna", "footprint")
OF_MODELS: Final = frozenset({"anomalies", "forecasts", "footprints"})  # facts of criteria that rest on a model


@dataclass(frozen=True, slots=True)
class VotingWitness:
    """A witness that may vote: which vote it casts, and the series it reads (None where it reads none)."""

    criterion: Criterion
    witness: str
    series: tuple[str, str] | None


@once_per_record
def find_groups(site: Site) -> Groups:
    """Independence group of every witness: stations that share a reference, logger, antenna or footprint are one.

    So is a station with a calculated series and those that it is computed from; a station that is itself the reference
    of others belongs to them. Observers, images and radar zones are groups of their own: all zones come from one
    satellite and one processing. So do stations that maps of velocities alone give values, where zones are among them.
    """
    stations = {s.id for s in site.stations}
    groups = {name: {name} for name in stations}

    def join(one: str, other: str) -> None:
        if groups[one] is groups[other]:
            return
        groups[one] |= groups[other]
        groups.update(dict.fromkeys(groups[one], groups[one]))

    owners: dict[tuple[str, str], str] = {}
    for station in site.stations:
        for kind, value in ((kind, getattr(station, kind)) for kind in SHARED):
            if value is not None:
                join(station.id, owners.setdefault((kind, value), station.id))
        if station.reference in stations:
            join(station.id, station.reference)
        for other, _ in (place for s in station.series if s.calculation for place in s.calculation.places):
            if other in stations:
                join(station.id, other)
    mapped = _list_mapped(site)
    for one in mapped:
        join(one, mapped[0])
    names = {INSAR, *(c.kind.zone for c in site.criteria if c.kind.zone is not None)}
    zones = {name_zone(s.id, name): name for name in sorted(names) for s in site.stations}
    stations_of = {s.id: min(groups[s.id]) for s in site.stations}
    return stations_of | zones | {OBSERVERS: OBSERVERS, SCENE: SCENE, EARTHQUAKE: EARTHQUAKE}


@once_per_record
def find_sources(site: Site) -> Mapping[str, Sequence[str]]:
    """By station that stands for another less a reference: the stations beside the slope that are taken off."""
    standing = {one.corrected_as for s in site.stations for one in s.series}
    found: dict[str, Sequence[str]] = {}
    for one in (s for s in site.stations if s.id in standing):
        names = {name for spec in one.series if spec.calculation for name, _ in spec.calculation.places}
        found[one.id] = [s.id for s in site.stations if s.id in names and not s.on_slope]
    return found


def _list_mapped(site: Site) -> list[str]:
    """Stations that maps of velocities alone give values, where zones are among them."""
    found = [s for s in site.stations if s.series and all(one.source == VELOCITY_MAP for one in s.series)]
    return [s.id for s in found] if any(one.quantity in ZONE_QUANTITIES for s in found for one in s.series) else []


def name_zone(station: str, zone: str) -> str:
    """How votes name the zone around a station.

    >>> name_zone("G1", INSAR)
    'insar:G1'
    """
    return f"{zone}:{station}"


def list_voting_witnesses(site: Site, criterion: Criterion) -> list[VotingWitness]:
    """Witnesses that a criterion hears: stations on the slope that declare its series, or what stands for them."""
    kind = criterion.kind
    if kind.witness is not None:
        return [VotingWitness(criterion, kind.witness, None)]
    found = []
    stations = {s.id: s for s in site.stations}
    for name in criterion.stations:
        station = stations.get(name)
        if station is None or not (station.on_slope or kind.trigger):
            continue
        if kind.zone is not None:
            found.append(VotingWitness(criterion, name_zone(name, kind.zone), None))
        elif (spec := station.find_series(criterion.quantity)) is not None:
            found.append(VotingWitness(criterion, name, (name, spec.quantity)))
        elif kind.source != "instruments":
            found.append(VotingWitness(criterion, name, None))
    return found


@once_per_record
def find_voting_series(site: Site) -> frozenset[tuple[str, str]]:
    """(station, declared quantity) of every series on which a vote may rest: by itself, or as part of a rule."""
    in_rules = {leaf.criterion for rule in site.fusion.rules for leaf in list_leaves(rule.when)}
    return frozenset(
        voice.series
        for criterion in site.criteria
        if criterion.kind.source == "instruments"
        and (criterion.role == "witness" or (criterion.role == "part" and criterion.id in in_rules))
        for voice in list_voting_witnesses(site, criterion)
        if voice.series is not None
    )


@once_per_record
def find_moving_series(site: Site) -> frozenset[tuple[str, str]]:
    """(station, declared quantity) of every series that measures how the slope itself moves."""
    found = ((s.id, one.quantity) for s in site.stations if s.on_slope for one in s.series)
    return frozenset(place for place in found if place[1].startswith(GROUND_MOTION_PREFIXES))


@once_per_record
def _find_sure_witnesses(site: Site) -> Mapping[str, Sequence[VotingWitness]]:
    """By criterion: the voices of those that count for a level and that somebody promises to come in time."""
    return {
        c.id: list_voting_witnesses(site, c)
        for c in site.criteria
        if c.role in {"witness", "part"} and c.kind.source != "suggestion"
    }


@dataclass(frozen=True, slots=True)
class ReachableLevel:
    """The highest level that the witnesses with data could raise."""

    level: int
    top_groups: frozenset[str]  # independent groups that could ask for the top


def compute_reachable_level(
    site: Site, able: Collection[tuple[str, str]], groups: Groups, shut: Shut = MappingProxyType({})
) -> ReachableLevel:
    """The highest level that could be raised by the series that are able, observers, and rules over them.

    What models and images suggest does not count here, even when promoted: nobody promises that it comes in time. Nor
    do observers alone count for the top where instruments measure how the slope moves.

    `site`: the declaration; `able`: series that can speak; `groups`: who is independent of whom; `shut`: levels that a
    criterion cannot reach by a witness, whatever that does.
    """
    if shut or groups is not find_groups(site):
        return _compute_reachable_level(site, able, groups, shut)
    known, key = _remember_reached(site), frozenset(able)
    if key not in known:
        known[key] = _compute_reachable_level(site, able, groups, shut)
    return known[key]


@once_per_record
def _remember_reached(_: Site) -> BoundedMemo[frozenset[tuple[str, str]], ReachableLevel]:
    """The highest level by the series that are able: every decision asks, and the same ones are able for long."""
    return BoundedMemo(KEPT_REACHED)


def _compute_reachable_level(
    site: Site, able: Collection[tuple[str, str]], groups: Groups, shut: Shut
) -> ReachableLevel:
    voices = {
        name: [v for v in witnesses if v.series in able or v.criterion.kind.source == "observers"]
        for name, witnesses in _find_sure_witnesses(site).items()
    }
    top = site.top_level
    tops: set[str] = set()
    levels = [0]
    for criterion in site.criteria:
        found = voices.get(criterion.id, []) if criterion.role == "witness" else []
        for voice in found:
            highest = _find_highest(voice, shut)
            if criterion.kind.source != "observers":
                levels.append(min(highest, top - 1))
            if highest >= top:
                tops.add(groups.get(voice.witness, voice.witness))

    def can(leaf: Clause, wanted: bool) -> bool:
        mine = {v.witness for v in voices.get(leaf.criterion, []) if not wanted or _can_request(v, leaf.level, shut)}
        return is_met(site, leaf, mine, groups) if wanted else not is_met(site, leaf, {*leaf.witnesses} - mine, groups)

    for rule in site.fusion.rules:
        if not can_become(rule.when, can):
            continue
        levels.append(min(rule.level, top - 1))
        if rule.level >= top:
            for leaf in list_affirmative_leaves(rule.when):
                mine = {v.witness for v in voices.get(leaf.criterion, []) if _can_request(v, leaf.level, shut)}
                tops |= {groups.get(w, w) for w in leaf.witnesses if w in mine}
    # where instruments measure motion, nobody promises that observers see what these miss
    is_seen = bool(tops - {OBSERVERS}) or not find_moving_series(site)
    return ReachableLevel(top if is_seen and len(tops) >= site.fusion.top_needs else max(levels), frozenset(tops))


def _find_highest(voice: VotingWitness, shut: Shut) -> int:
    closed = shut.get((voice.criterion.id, voice.witness), ())
    return max((t.level for t in voice.criterion.thresholds if t.level not in closed), default=0)


def _can_request(voice: VotingWitness, level: int, shut: Shut) -> bool:
    return not shut.get((voice.criterion.id, voice.witness)) or _find_highest(voice, shut) >= level


def is_met(site: Site, leaf: Clause, witnesses: Collection[str], groups: Groups) -> bool:
    """True when these witnesses are enough for a leaf: k independent ones, in each of so many areas."""
    chosen = [w for w in leaf.witnesses if w in witnesses]
    if leaf.areas == 1:
        return len({groups.get(w, w) for w in chosen}) >= leaf.k
    by_area: dict[str, set[str]] = {}
    for name in chosen:
        station = site.station(name.rpartition(":")[2])
        if station is not None and station.area is not None:
            by_area.setdefault(station.area, set()).add(groups.get(name, name))
    return sum(len(found) >= leaf.k for found in by_area.values()) >= leaf.areas


def list_top_witnesses(site: Site) -> Sequence[tuple[str, ...]]:
    """Independent groups of stations that could vote for the top level when all is well; observers are one more."""
    groups = find_groups(site)
    tops = compute_reachable_level(site, find_voting_series(site), groups).top_groups
    mine = sorted(
        tuple(s.id for s in sorted(site.stations, key=lambda s: s.id) if s.on_slope and groups[s.id] == group)
        for group in tops - {OBSERVERS}
    )
    return [*mine, *([(OBSERVERS,)] if OBSERVERS in tops else [])]


def needs_proof(site: Site) -> list[Criterion]:
    """Criteria of a site that its file lets count for the warning level and that rest on a model."""
    return [one for one in site.criteria if one.role in {"witness", "part"} and one.kind.facts in OF_MODELS]
