"""Who can speak for a slope, and who is independent of whom: one answer for the site file and for every decision."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from monitor.domain.fusion import Clause, list_leaves, may_become
from monitor.domain.site import Criterion, Site

OBSERVERS: Final = "observers"
SCENE: Final = "scene"
INSAR: Final = "insar"
# kinds that no declared series of an instrument stands behind, or that models suggest
SUGGESTED: Final = frozenset({
    "forecast", "inverse_velocity", "anomaly", "scene", "report", "earthquake", "insar_rate",
})  # fmt: skip
# what sets a slope in motion is measured beside it as well: a gauge in the valley is no control station of movement
TRIGGERS: Final = frozenset({
    "rain_sum", "rain_intensity_duration", "rain_antecedent", "rain_return_period", "rain_learned", "drawdown",
})  # fmt: skip
EARTHQUAKE: Final = "earthquake"
SHARED: Final = ("reference", "logger", "antenna", "footprint")


@dataclass(frozen=True, slots=True)
class Voice:
    """A witness that may speak: which vote it casts, and the series it reads (None where it reads none)."""

    criterion: Criterion
    witness: str
    series: tuple[str, str] | None


def find_groups(site: Site) -> dict[str, str]:
    """Independence group of every witness: stations that share a reference, logger, antenna or footprint are one.

    A station that is itself the reference of others belongs to them. Observers, images and radar zones are groups of
    their own: all zones come from one satellite and one processing.
    """
    parent = {s.id: s.id for s in site.stations}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    owners: dict[tuple[str, str], str] = {}
    for station in site.stations:
        for kind in SHARED:
            value: str | None = getattr(station, kind)
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
    zones = {name_zone(s.id): INSAR for s in site.stations}
    return groups | zones | {OBSERVERS: OBSERVERS, SCENE: SCENE, EARTHQUAKE: EARTHQUAKE}


def name_zone(station: str) -> str:
    """How votes name the radar zone around a station.

    >>> name_zone("G1")
    'insar:G1'
    """
    return f"{INSAR}:{station}"


def list_voices(site: Site, criterion: Criterion) -> list[Voice]:
    """Witnesses that a criterion hears: stations on the slope that declare its series, or what stands for them."""
    if criterion.kind == "report":
        return [Voice(criterion, OBSERVERS, None)]
    if criterion.kind == "scene":
        return [Voice(criterion, SCENE, None)]
    if criterion.kind == EARTHQUAKE:
        return [Voice(criterion, EARTHQUAKE, None)]
    found = []
    stations = {s.id: s for s in site.stations}
    for name in criterion.stations:
        station = stations.get(name)
        if station is None or not (station.on_slope or criterion.kind in TRIGGERS):
            continue
        if criterion.kind == "insar_rate":
            found.append(Voice(criterion, name_zone(name), None))
        elif (spec := station.find_series(criterion.quantity)) is not None:
            found.append(Voice(criterion, name, (name, spec.quantity)))
        elif criterion.kind in SUGGESTED:
            found.append(Voice(criterion, name, None))
    return found


def find_voting_series(site: Site) -> set[tuple[str, str]]:
    """(station, declared quantity) of every series on which a vote may rest: by itself, or as part of a rule."""
    asked = {leaf.criterion for rule in site.fusion.rules for leaf in list_leaves(rule.when)}
    return {
        voice.series
        for criterion in site.criteria
        if criterion.kind not in SUGGESTED
        and (criterion.role == "witness" or (criterion.role == "part" and criterion.id in asked))
        for voice in list_voices(site, criterion)
        if voice.series is not None
    }


@dataclass(frozen=True, slots=True)
class Reach:
    """What those who can speak could raise."""

    level: int
    top_groups: frozenset[str]  # independent groups that could ask for the top


def reach(site: Site, able: Collection[tuple[str, str]], groups: Mapping[str, str]) -> Reach:
    """The highest level that could be raised by the series that are able, observers, and rules over them.

    What models and images suggest does not count here, even when promoted: nobody promises that it comes in time.
    """
    voices = {
        c.id: [v for v in list_voices(site, c) if v.series in able or c.kind == "report"]
        for c in site.criteria
        if c.role in {"witness", "part"} and (c.kind not in SUGGESTED or c.kind == "report")
    }
    top = site.top_level
    tops: set[str] = set()
    levels = [0]
    for criterion in site.criteria:
        found = voices.get(criterion.id, []) if criterion.role == "witness" else []
        highest = max((t.level for t in criterion.thresholds), default=0)
        if found and criterion.kind != "report":
            levels.append(min(highest, top - 1))
        if highest >= top:
            tops |= {groups.get(v.witness, v.witness) for v in found}

    def can(leaf: Clause, wanted: bool) -> bool:
        mine = {v.witness for v in voices.get(leaf.criterion, [])}
        return is_met(site, leaf, mine, groups) if wanted else not is_met(site, leaf, {*leaf.witnesses} - mine, groups)

    for rule in site.fusion.rules:
        if not may_become(rule.when, can):
            continue
        levels.append(min(rule.level, top - 1))
        if rule.level >= top:
            for leaf in _affirmed(rule.when):
                mine = {v.witness for v in voices.get(leaf.criterion, [])}
                tops |= {groups.get(w, w) for w in leaf.witnesses if w in mine}
    return Reach(top if len(tops) >= site.fusion.top_needs else max(levels), frozenset(tops))


def is_met(site: Site, leaf: Clause, witnesses: Collection[str], groups: Mapping[str, str]) -> bool:
    """True when these witnesses are enough for a leaf: k independent ones, in each of so many areas."""
    chosen = [w for w in leaf.witnesses if w in witnesses]
    if leaf.areas == 1:
        return len({groups.get(w, w) for w in chosen}) >= leaf.k
    by_area: dict[str, set[str]] = {}
    for name in chosen:
        station = site.station(name.removeprefix(f"{INSAR}:"))
        if station is not None and station.area is not None:
            by_area.setdefault(station.area, set()).add(groups.get(name, name))
    return sum(len(found) >= leaf.k for found in by_area.values()) >= leaf.areas


def list_top_witnesses(site: Site) -> Sequence[tuple[str, ...]]:
    """Independent groups of stations that could vote for the top level when all is well; observers are one more."""
    groups = find_groups(site)
    tops = reach(site, find_voting_series(site), groups).top_groups
    mine = sorted(
        tuple(s.id for s in sorted(site.stations, key=lambda s: s.id) if s.on_slope and groups[s.id] == group)
        for group in tops - {OBSERVERS}
    )
    return [*mine, *([(OBSERVERS,)] if OBSERVERS in tops else [])]


def _affirmed(clause: Clause) -> list[Clause]:
    """Leaves that a rule may rest on; what is denied is no witness."""
    if clause.op == "votes":
        return [clause]
    return [] if clause.op == "not" else [leaf for part in clause.parts for leaf in _affirmed(part)]
