"""Values derived from one version of a site file, computed once for all evaluations of the site."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

from monitor.decision.criteria.kinds.earthquake import lower_bounds
from monitor.decision.criteria.scope import find_history_spans
from monitor.decision.judgements import (
    Barriers,
    SeriesJudgement,
    find_barriers,
    find_closed_levels,
    find_unjudged,
    list_judgements,
)
from monitor.decision.keys import VoteKey
from monitor.decision.proof import as_advice
from monitor.decision.series.intervals import list_series_without_max_silence
from monitor.sites.fusion import Clause, list_affirmative_leaves
from monitor.sites.parents import DEFAULT_SILENCE_INTERVALS, Parent, Place, list_children
from monitor.sites.quantities import measures_motion
from monitor.sites.records import Criterion, SeriesSpec, Site, Station
from monitor.sites.slope import list_outside_instruments, list_slope_instruments
from monitor.sites.witnesses import (
    BlockedLevels,
    Groups,
    ReachableLevel,
    VotingWitness,
    compute_reachable_level,
    find_certain_witnesses,
    find_groups,
    find_instrument_motion_series,
    find_sources,
    find_voting_series,
    list_voting_witnesses,
)

# Criteria on references have ids of their own, so that their tracks are cached apart from those of the stations.
REFERENCE_SUFFIX: Final = "~reference"
# Number of results of `PreparedSite.restrict` that are cached.
MAX_VARIANTS: Final = 4

# A criterion that reads a series, and the name of the witness in its votes.
Reader = tuple[Criterion, str]
# A criterion with a vote, and the station and series that it measures.
MeasurableVote = tuple[Criterion, Station, SeriesSpec]


class PreparedSite:
    """Values derived from one version of a site file.

    Each attribute is computed when it is first needed. Build one `PreparedSite` for a version of a site file and pass
    it to every evaluation of that version. Callers must not change the values.

    Args:
        site: The site.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._variants: dict[tuple[frozenset[str], float], PreparedSite] = {}

    def restrict(self, unproven: Collection[str], factor: float) -> "PreparedSite":
        """Return the prepared site with lowered bounds, and with unproven criteria as advice.

        The newest `MAX_VARIANTS` results are cached, because evaluations use the same arguments for days.

        Args:
            unproven: Ids of criteria.
            factor: Factor on the bounds (0 < factor <= 1).

        Raises:
            ValueError: The factor would loosen a bound.
        """
        if not unproven and factor == 1.0:
            return self
        key = (frozenset(unproven), factor)
        if key not in self._variants:
            variant = PreparedSite(lower_bounds(as_advice(self.site, unproven), factor))
            if len(self._variants) >= MAX_VARIANTS:
                oldest = next(iter(self._variants))
                del self._variants[oldest]
            self._variants[key] = variant
        return self._variants[key]

    # ---- stations and series ---------------------------------------------------------------------------------------
    @cached_property
    def groups(self) -> Groups:
        """Independence group of every witness."""
        return find_groups(self.site)

    @cached_property
    def sources(self) -> Mapping[str, Sequence[str]]:
        """Reference stations that are subtracted, by the id of each reference-corrected station."""
        return find_sources(self.site)

    @cached_property
    def voting_series(self) -> frozenset[Place]:
        """Station and declared quantity of every series that a vote may depend on."""
        return find_voting_series(self.site)

    @cached_property
    def instrument_motion_series(self) -> frozenset[Place]:
        """Station and declared quantity of every instrument series that measures motion of the slope."""
        return find_instrument_motion_series(self.site)

    @cached_property
    def slope_instruments(self) -> Mapping[str, tuple[SeriesSpec, ...]]:
        """Series that instruments on the slope measure its motion with, by station."""
        return list_slope_instruments(self.site)

    @cached_property
    def outside_instruments(self) -> Mapping[str, tuple[SeriesSpec, ...]]:
        """Series of the instruments outside the slope, by station."""
        return list_outside_instruments(self.site)

    @cached_property
    def series_with_remembered_receptions(self) -> Sequence[SeriesSpec]:
        """Series whose receptions each evaluation needs, also if the loaded readings no longer contain them."""
        of_instruments = (*self.slope_instruments.values(), *self.outside_instruments.values())
        specs = [*self.series_without_max_silence, *(spec for series in of_instruments for spec in series)]
        return [*{(spec.station, spec.quantity): spec for spec in specs}.values()]

    @cached_property
    def motion_series(self) -> Sequence[Place]:
        """Series on the slope that measure motion, in the order of the site file.

        Unlike `instrument_motion_series`, these include series from velocity maps.
        """
        return list_motion_series(self.site)

    @cached_property
    def series_without_max_silence(self) -> Sequence[SeriesSpec]:
        """Series without a declared `max_silence`. Their allowed silence is derived from their readings."""
        return list_series_without_max_silence(self.site)

    @cached_property
    def history_spans(self) -> Mapping[Place, float]:
        """Seconds of history that criteria read, by station and declared quantity."""
        return find_history_spans(self.site)

    @cached_property
    def children(self) -> Mapping[Parent, frozenset[Place]]:
        """Series by the equipment that they depend on."""
        return list_children(self.site)

    @cached_property
    def series_with_long_silence(self) -> Sequence[tuple[Place, float]]:
        """Series on shared equipment whose `max_silence` is longer than the default, each with the default in s."""
        return list_series_with_long_silence(self.site, self.children)

    @cached_property
    def calculated_series(self) -> Mapping[Place, Sequence[Place]]:
        """Series that are calculated from each series, directly or through others."""
        return find_calculated_series(self.site)

    # ---- criteria --------------------------------------------------------------------------------------------------
    @cached_property
    def witness_criteria(self) -> Mapping[str, Criterion]:
        """Criteria that vote by themselves, by id."""
        return find_witness_criteria(self.site)

    @cached_property
    def voting_criteria(self) -> Mapping[str, Criterion]:
        """Criteria that vote by themselves or only count inside a fusion rule, by id."""
        parts = {criterion.id: criterion for criterion in self.site.criteria if criterion.role == "part"}
        return {**self.witness_criteria, **parts}

    @cached_property
    def stepping_criteria(self) -> Sequence[Criterion]:
        """Criteria on tracks in which steps are detected."""
        return [
            criterion for criterion in self.site.criteria if criterion.kind.followed and criterion.quantity != "rain"
        ]

    @cached_property
    def references(self) -> "PreparedReferences | None":
        """Criteria that assess whether references move. None if no reference needs it."""
        return prepare_references(self.site, self.sources)

    # ---- votes -----------------------------------------------------------------------------------------------------
    @cached_property
    def certain_witnesses(self) -> Mapping[str, Sequence[VotingWitness]]:
        """Witnesses that count for the reachable level, by criterion. Suggestions of models are left out."""
        return find_certain_witnesses(self.site)

    @cached_property
    def readers(self) -> Mapping[Place, Sequence[Reader]]:
        """Criteria that read a series, by station and declared quantity."""
        return find_readers(self.site)

    @cached_property
    def series_voters(self) -> Mapping[Place, Sequence[Reader]]:
        """Criteria with a vote on a series, by station and declared quantity.

        Series without such a criterion are left out.
        """
        return select_voters(self.readers, self.rule_leaves)

    @cached_property
    def rule_leaves(self) -> Mapping[str, Sequence[tuple[Clause, int]]]:
        """Leaves of fusion rules that votes can support, with the level of the rule, by criterion."""
        return find_rule_leaves(self.site)

    @cached_property
    def measurable_votes(self) -> Sequence[MeasurableVote]:
        """Votes whose detection limits are known."""
        return list_measurable_votes(self.site)

    # ---- judgements ------------------------------------------------------------------------------------------------
    @cached_property
    def barriers(self) -> Barriers:
        """Why votes cannot reach levels at the declared intervals, by vote and level."""
        barriers = {
            VoteKey(criterion.id, station.id): find_barriers(criterion, station, spec, spec.interval_s)
            for criterion, station, spec in self.measurable_votes
        }
        return {key: by_level for key, by_level in barriers.items() if by_level}

    @cached_property
    def closed_levels(self) -> BlockedLevels:
        """Levels that cannot be reached at the declared intervals, by criterion and witness."""
        return find_closed_levels(self.barriers)

    @cached_property
    def judgements(self) -> Sequence[SeriesJudgement]:
        """Which criteria judge each series at its declared interval, and the fastest motion that they miss."""
        return list_judgements(self)

    @cached_property
    def judgements_by_series(self) -> Mapping[Place, SeriesJudgement]:
        """Judgements by station and declared quantity."""
        return {(judgement.station, judgement.quantity): judgement for judgement in self.judgements}

    @cached_property
    def unjudged_series(self) -> Sequence[str]:
        """Names of the motion series that no criterion with a vote reads, sorted."""
        return find_unjudged(self.judgements)

    def compute_reachable_level(
        self, available: Collection[Place], blocked: BlockedLevels = MappingProxyType({})
    ) -> ReachableLevel:
        """Compute the highest level that the available series, observers, and rules over them can raise.

        Args:
            available: Station and quantity of the series that have usable data.
            blocked: Levels that a criterion cannot reach by a witness, regardless of its data.
        """
        return compute_reachable_level(self.site, self.certain_witnesses, available, self.groups, blocked)


@dataclass(frozen=True, slots=True)
class PreparedReferences:
    """The criteria that assess whether the references of relative stations move.

    Attributes:
        prepared: The site in which criteria assess the references instead of the stations.
        stations: Ids of the relative stations, by the id of their reference.
    """

    prepared: PreparedSite
    stations: Mapping[str, Sequence[str]]


def prepare_references(site: Site, sources: Mapping[str, Sequence[str]]) -> PreparedReferences | None:
    """Return the criteria that assess references, or None if no criterion assesses a relative station.

    Args:
        sources: Reference stations by relative station, as `find_sources` returns them.
    """
    stations: dict[str, list[str]] = {}
    for station, references in sources.items():
        for reference in references:
            stations.setdefault(reference, []).append(station)
    criteria = []
    for criterion in site.criteria:
        if not criterion.kind.motion or criterion.role == "advice":
            continue
        references = _list_references(site, criterion, stations)
        if references:
            criterion_id = f"{criterion.id}{REFERENCE_SUFFIX}"
            criteria.append(replace(criterion, id=criterion_id, stations=references, direction="norm"))
    if not criteria:
        return None
    # A reference is declared beside the slope, but criteria on motion assess only stations on the slope.
    stations_on_slope = tuple(
        replace(station, on_slope=True) if station.id in stations else station for station in site.stations
    )
    site_of_references = replace(site, stations=stations_on_slope, criteria=tuple(criteria))
    return PreparedReferences(PreparedSite(site_of_references), stations)


def _list_references(site: Site, criterion: Criterion, stations: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the references that a criterion needs.

    These are the references of its stations, if they have the series and the criterion does not assess them itself.
    """
    return tuple(
        reference
        for reference, relative_stations in stations.items()
        if not {*relative_stations}.isdisjoint(criterion.stations)
        and site.series(reference, criterion.quantity) is not None
        and reference not in criterion.stations
    )


def find_witness_criteria(site: Site) -> dict[str, Criterion]:
    """Return the criteria that vote by themselves, by id."""
    return {criterion.id: criterion for criterion in site.criteria if criterion.role == "witness"}


def list_motion_series(site: Site) -> list[Place]:
    """Return station and quantity of the series on the slope that measure motion, including velocity maps."""
    return [
        (spec.station, spec.quantity)
        for station in site.stations
        if station.on_slope
        for spec in station.series
        if measures_motion(spec.quantity)
    ]


def list_series_with_long_silence(
    site: Site, children: Mapping[Parent, Collection[Place]]
) -> list[tuple[Place, float]]:
    """Return the series on shared equipment whose `max_silence` is longer than the default, each with the default in s.

    Args:
        children: Series by the equipment that they depend on.
    """
    places = {place for dependent in children.values() for place in dependent}
    with_long_silence: list[tuple[Place, float]] = []
    for place in sorted(places):
        spec = site.series(*place)
        if spec is None:
            continue
        default_s = DEFAULT_SILENCE_INTERVALS * spec.interval_s
        if spec.max_silence_s > default_s:
            with_long_silence.append((place, default_s))
    return with_long_silence


def find_readers(site: Site) -> dict[Place, list[Reader]]:
    """Return the criteria that read each series, with the name of the witness."""
    readers: dict[Place, list[Reader]] = {}
    for criterion in site.criteria:
        for witness in list_voting_witnesses(site, criterion):
            if witness.series is not None:
                readers.setdefault(witness.series, []).append((criterion, witness.name))
    return readers


def select_voters(
    readers: Mapping[Place, Sequence[Reader]], criteria_in_rules: Collection[str]
) -> dict[Place, list[Reader]]:
    """Return the readers of each series that have a vote, by themselves or as part of a fusion rule.

    Args:
        readers: Criteria that read each series.
        criteria_in_rules: Ids of the criteria whose votes a fusion rule can count.
    """
    voters: dict[Place, list[Reader]] = {}
    for place, criteria in readers.items():
        for criterion, witness in criteria:
            has_vote = criterion.role == "witness" or (criterion.role == "part" and criterion.id in criteria_in_rules)
            if has_vote and criterion.kind.source == "instruments":
                voters.setdefault(place, []).append((criterion, witness))
    return voters


def find_rule_leaves(site: Site) -> dict[str, list[tuple[Clause, int]]]:
    """Return the leaves of fusion rules that votes of a criterion can support, with the level of the rule."""
    leaves: dict[str, list[tuple[Clause, int]]] = {}
    for rule in site.fusion.rules:
        for leaf in list_affirmative_leaves(rule.when):
            leaves.setdefault(leaf.criterion, []).append((leaf, rule.level))
    return leaves


def find_calculated_series(site: Site) -> dict[Place, list[Place]]:
    """Return the series that are calculated from each series, directly or through others."""
    direct: dict[Place, list[Place]] = {}
    for station in site.stations:
        for spec in station.series:
            if spec.calculation is None:
                continue
            for input_station, input_quantity in spec.calculation.places:
                source = site.series(input_station, input_quantity)
                if source is not None:
                    direct.setdefault((source.station, source.quantity), []).append((spec.station, spec.quantity))
    return {place: _list_reachable(place, direct) for place in direct}


def _list_reachable(place: Place, direct: Mapping[Place, Sequence[Place]]) -> list[Place]:
    """Return the series that are calculated from a series, nearest first."""
    reachable: dict[Place, None] = {}
    queue = list(direct.get(place, ()))
    while queue:
        calculated = queue.pop(0)
        if calculated not in reachable:
            reachable[calculated] = None
            queue.extend(direct.get(calculated, ()))
    return list(reachable)


def list_measurable_votes(site: Site) -> list[MeasurableVote]:
    """Return the votes whose detection limits are known: those of criteria on measured series."""
    votes: list[MeasurableVote] = []
    for criterion in site.criteria:
        if criterion.role == "advice" or not criterion.kind.followed or criterion.kind.per is None:
            continue
        for witness in list_voting_witnesses(site, criterion):
            if witness.series is None:
                continue
            station = site.station(witness.name)
            spec = None if station is None else station.find_series(criterion.quantity)
            if station is not None and spec is not None:
                votes.append((criterion, station, spec))
    return votes
