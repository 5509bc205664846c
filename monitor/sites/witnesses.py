"""Witnesses of a site: which ones may vote, which are independent, and which levels they can reach."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from monitor.sites.fusion import Clause, can_become, list_affirmative_leaves, list_leaves
from monitor.sites.quantities import GROUND_MOTION_PREFIXES, ZONE_QUANTITIES
from monitor.sites.records import VELOCITY_MAP, Criterion, Site, Station

OBSERVERS: Final = "observers"
SCENE: Final = "scene"
INSAR: Final = "insar"
EARTHQUAKE: Final = "earthquake"
# Independence group by witness.
Groups = Mapping[str, str]
# Levels that cannot be reached, by criterion and witness.
BlockedLevels = Mapping[tuple[str, str], Collection[int]]
# Keys of [[station]]. Stations with the same value are one witness.
SHARED_EQUIPMENT: Final = ("reference", "logger", "antenna", "footprint")
# Facts that a model produces.
MODEL_FACTS: Final = frozenset({"anomalies", "forecasts", "footprints"})


@dataclass(frozen=True, slots=True)
class VotingWitness:
    """A witness of a criterion.

    Attributes:
        name: Id of a station, name of a zone such as `insar:G1`, or the single witness of a kind such as `observers`.
        series: Station and quantity of the series that the criterion reads there; None if it reads no series.
    """

    criterion: Criterion
    name: str
    series: tuple[str, str] | None


def find_groups(site: Site) -> Groups:
    """Return the independence group of every witness.

    The following stations are in one group:

    * stations that share a reference, logger, antenna or footprint, and the station that is their reference;
    * a station with a calculated series, and the stations of the inputs;
    * stations whose values all come from velocity maps, if zones are among them.

    Observers, images and earthquakes are one group each. All zones of one kind are a group, because they come from one
    satellite and one processing.
    """
    station_ids = {station.id for station in site.stations}
    members = {station_id: {station_id} for station_id in station_ids}

    def join(first: str, second: str) -> None:
        if members[first] is members[second]:
            return
        members[first] |= members[second]
        members.update(dict.fromkeys(members[first], members[first]))

    first_stations: dict[tuple[str, str], str] = {}
    for station in site.stations:
        for key in SHARED_EQUIPMENT:
            value = getattr(station, key)
            if value is not None:
                join(station.id, first_stations.setdefault((key, value), station.id))
        if station.reference in station_ids:
            join(station.id, station.reference)
        for spec in station.series:
            if spec.calculation is None:
                continue
            for input_station, _ in spec.calculation.places:
                if input_station in station_ids:
                    join(station.id, input_station)
    mapped = _list_mapped(site)
    for station_id in mapped:
        join(station_id, mapped[0])
    groups = {station.id: min(members[station.id]) for station in site.stations}
    zone_names = {INSAR, *(criterion.kind.zone for criterion in site.criteria if criterion.kind.zone is not None)}
    for zone in sorted(zone_names):
        groups |= {name_zone(station.id, zone): zone for station in site.stations}
    return groups | {OBSERVERS: OBSERVERS, SCENE: SCENE, EARTHQUAKE: EARTHQUAKE}


def find_sources(site: Site) -> Mapping[str, Sequence[str]]:
    """Return the reference stations that are subtracted, by the id of each reference-corrected station.

    References of a total station are left out. They are compared with each other in each round, and their own
    displacement contains the changes of the air that the correction removes.
    """
    corrected_ids = {
        spec.corrected_as
        for station in site.stations
        for spec in station.series
        if not _has_checked_references(site, station)
    }
    sources: dict[str, Sequence[str]] = {}
    for corrected in site.stations:
        if corrected.id not in corrected_ids:
            continue
        inputs = {name for spec in corrected.series if spec.calculation for name, _ in spec.calculation.places}
        sources[corrected.id] = [
            station.id for station in site.stations if station.id in inputs and not station.on_slope
        ]
    return sources


def _has_checked_references(site: Site, station: Station) -> bool:
    """Return whether the prisms of a total station correct a station."""
    total_station = site.find_total_station(station.id)
    return total_station is not None and bool(total_station.references)


def _list_mapped(site: Site) -> list[str]:
    """Return the stations whose values all come from velocity maps. Empty if none of them is a zone."""
    mapped = [
        station
        for station in site.stations
        if station.series and all(spec.source == VELOCITY_MAP for spec in station.series)
    ]
    quantities = {spec.quantity for station in mapped for spec in station.series}
    return [station.id for station in mapped] if quantities & ZONE_QUANTITIES else []


def name_zone(station: str, zone: str) -> str:
    """Return the name of the zone around a station in votes.

    >>> name_zone("G1", INSAR)
    'insar:G1'
    """
    return f"{zone}:{station}"


def list_voting_witnesses(site: Site, criterion: Criterion) -> list[VotingWitness]:
    """Return the witnesses of a criterion.

    These are the stations on the slope that declare its series, their zones, or the single witness of the kind.
    """
    kind = criterion.kind
    if kind.witness is not None:
        return [VotingWitness(criterion, kind.witness, None)]
    witnesses = []
    stations = {station.id: station for station in site.stations}
    for name in criterion.stations:
        station = stations.get(name)
        if station is None or not (station.on_slope or kind.trigger):
            continue
        spec = station.find_series(criterion.quantity)
        if kind.zone is not None:
            witnesses.append(VotingWitness(criterion, name_zone(name, kind.zone), None))
        elif spec is not None:
            witnesses.append(VotingWitness(criterion, name, (name, spec.quantity)))
        elif kind.source != "instruments":
            witnesses.append(VotingWitness(criterion, name, None))
    return witnesses


def find_voting_series(site: Site) -> frozenset[tuple[str, str]]:
    """Return station and declared quantity of every series that a vote may depend on, also as part of a rule."""
    criteria_in_rules = {leaf.criterion for rule in site.fusion.rules for leaf in list_leaves(rule.when)}
    voting: set[tuple[str, str]] = set()
    for criterion in site.criteria:
        has_vote = criterion.role == "witness" or (criterion.role == "part" and criterion.id in criteria_in_rules)
        if has_vote and criterion.kind.source == "instruments":
            witnesses = list_voting_witnesses(site, criterion)
            voting.update(witness.series for witness in witnesses if witness.series is not None)
    return frozenset(voting)


def find_instrument_motion_series(site: Site) -> frozenset[tuple[str, str]]:
    """Return station and declared quantity of every series of an instrument that measures motion of the slope."""
    return frozenset(
        (station.id, spec.quantity)
        for station in site.stations
        if station.on_slope
        for spec in station.series
        if spec.quantity.startswith(GROUND_MOTION_PREFIXES)
    )


def find_certain_witnesses(site: Site) -> Mapping[str, Sequence[VotingWitness]]:
    """Return the witnesses that count for the reachable level, by criterion. Suggestions of models are left out."""
    return {
        criterion.id: list_voting_witnesses(site, criterion)
        for criterion in site.criteria
        if criterion.role in {"witness", "part"} and criterion.kind.source != "suggestion"
    }


@dataclass(frozen=True, slots=True)
class ReachableLevel:
    """The highest level that the witnesses with data can raise.

    Attributes:
        level: Number of the level.
        top_groups: Independent groups that can vote for the highest level.
    """

    level: int
    top_groups: frozenset[str]


def compute_reachable_level(
    site: Site,
    certain_witnesses: Mapping[str, Sequence[VotingWitness]],
    available: Collection[tuple[str, str]],
    groups: Groups,
    blocked: BlockedLevels = MappingProxyType({}),
) -> ReachableLevel:
    """Compute the highest level that the available series, observers, and rules over them can raise.

    Suggestions of models and images do not count, because they may arrive too late. Where instruments measure motion,
    observers alone do not count for the top level.

    Args:
        certain_witnesses: Result of `find_certain_witnesses`.
        available: Station and quantity of the series that have usable data.
        groups: Independence group of each witness.
        blocked: Levels that a criterion cannot reach by a witness, regardless of its data.
    """
    witnesses = {
        criterion_id: [
            witness
            for witness in witnesses_of_criterion
            if witness.series in available or witness.criterion.kind.source == "observers"
        ]
        for criterion_id, witnesses_of_criterion in certain_witnesses.items()
    }
    top = site.top_level
    top_groups: set[str] = set()
    levels = [0]
    for criterion in site.criteria:
        if criterion.role != "witness":
            continue
        for witness in witnesses.get(criterion.id, []):
            highest = _find_highest_level(witness, blocked)
            if criterion.kind.source != "observers":
                levels.append(min(highest, top - 1))
            if highest >= top:
                top_groups.add(groups.get(witness.name, witness.name))

    def find_supporters(leaf: Clause) -> set[str]:
        return {
            witness.name for witness in witnesses.get(leaf.criterion, []) if _can_vote_for(witness, leaf.level, blocked)
        }

    def can_leaf_become(leaf: Clause, value: bool) -> bool:
        if value:
            return is_met(site, leaf, find_supporters(leaf), groups)
        # The leaf is known to be false if the witnesses without data could not make it true.
        with_data = {witness.name for witness in witnesses.get(leaf.criterion, [])}
        return not is_met(site, leaf, {*leaf.witnesses} - with_data, groups)

    for rule in site.fusion.rules:
        if not can_become(rule.when, can_leaf_become):
            continue
        levels.append(min(rule.level, top - 1))
        if rule.level >= top:
            for leaf in list_affirmative_leaves(rule.when):
                supporters = find_supporters(leaf)
                top_groups |= {groups.get(name, name) for name in leaf.witnesses if name in supporters}
    # Where instruments measure motion, observers cannot be relied on to notice what the instruments miss.
    has_reliable_group = bool(top_groups - {OBSERVERS}) or not find_instrument_motion_series(site)
    can_reach_top = has_reliable_group and len(top_groups) >= site.fusion.top_needs
    return ReachableLevel(top if can_reach_top else max(levels), frozenset(top_groups))


def _find_highest_level(witness: VotingWitness, blocked: BlockedLevels) -> int:
    """Return the highest level that a witness can vote for."""
    blocked_levels = blocked.get((witness.criterion.id, witness.name), ())
    levels = [threshold.level for threshold in witness.criterion.thresholds if threshold.level not in blocked_levels]
    return max(levels, default=0)


def _can_vote_for(witness: VotingWitness, level: int, blocked: BlockedLevels) -> bool:
    """Return whether a witness can vote for a level or a higher one."""
    if not blocked.get((witness.criterion.id, witness.name)):
        return True
    return _find_highest_level(witness, blocked) >= level


def is_met(site: Site, leaf: Clause, witnesses: Collection[str], groups: Groups) -> bool:
    """Return whether the votes of some witnesses make a leaf true.

    The leaf needs `k` independent witnesses. With `areas`, it needs them in each of that many areas.
    """
    voting = [name for name in leaf.witnesses if name in witnesses]
    if leaf.areas == 1:
        return len({groups.get(name, name) for name in voting}) >= leaf.k
    groups_by_area: dict[str, set[str]] = {}
    for name in voting:
        station = site.station(name.rpartition(":")[2])
        if station is not None and station.area is not None:
            groups_by_area.setdefault(station.area, set()).add(groups.get(name, name))
    complete_areas = [area for area, members in groups_by_area.items() if len(members) >= leaf.k]
    return len(complete_areas) >= leaf.areas


def list_top_witnesses(site: Site) -> Sequence[tuple[str, ...]]:
    """Return the independent groups of stations that can vote for the top level if all series have data.

    Observers are one more group.
    """
    groups = find_groups(site)
    top_groups = compute_reachable_level(
        site, find_certain_witnesses(site), find_voting_series(site), groups
    ).top_groups
    on_slope = sorted(station.id for station in site.stations if station.on_slope)
    members = [
        tuple(station_id for station_id in on_slope if groups[station_id] == group)
        for group in top_groups - {OBSERVERS}
    ]
    members.sort()
    if OBSERVERS in top_groups:
        members.append((OBSERVERS,))
    return members


def list_criteria_needing_proof(site: Site) -> list[Criterion]:
    """Return the criteria that depend on a model and count for the warning level. They need a stored proof."""
    return [
        criterion
        for criterion in site.criteria
        if criterion.role in {"witness", "part"} and criterion.kind.facts in MODEL_FACTS
    ]
