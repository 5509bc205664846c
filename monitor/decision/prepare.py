"""Prepare a decision: bounds in force, roles of criteria, cleaned tracks and health of every series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.decision.criteria.kinds.earthquake import find_bound_factor, lower_bounds
from monitor.decision.proof import as_advice, find_unproven
from monitor.decision.records import Condition, DecisionInputs, Memory, StationHealth
from monitor.decision.series.assessment import DecisionContext, EvaluationCache
from monitor.decision.series.corrections import add_unsigned, list_questions
from monitor.decision.series.maintenance import MaintenanceMask, find_maintenance_masks
from monitor.decision.series.station_health import SeriesHealthMap, examine
from monitor.decision.series.tracks import Track
from monitor.sites.records import Criterion, Site
from monitor.sites.witnesses import Groups, find_groups
from monitor.text.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDecision:
    """What is known of a site at one instant before anything is decided.

    Attributes:
        context: site, inputs and memory, with the values that count.
        with_unsigned: the same with corrections that two people have not signed; None where there are none.
        factor: the share of themselves to which bounds are lowered; 1 = as declared.
        questions: about unsigned corrections, by question.
        witnesses: criteria that vote, by id.
        voters: these, and those that speak inside rules alone.
        followed: cleaned tracks with their criteria, in the order of the site file.
        tracks: the same by station.
        masks: stations whose votes maintenance sets aside.
        healths: of every station, as its readings show it; open steps are not known yet.
        sick: open conditions of instruments, by alert key.
    """

    context: DecisionContext
    with_unsigned: DecisionContext | None
    factor: float
    questions: Mapping[str, Message]
    groups: Groups
    witnesses: Mapping[str, Criterion]
    voters: Mapping[str, Criterion]
    followed: Sequence[tuple[Criterion, Track]]
    tracks: dict[str, list[Track]]
    masks: Mapping[str, MaintenanceMask]
    healths: tuple[StationHealth, ...]
    series_health: SeriesHealthMap
    sick: Mapping[str, Condition]


def prepare(
    site: Site, inputs: DecisionInputs, memory: Memory, now_s: float, cache: EvaluationCache | None = None
) -> PreparedDecision:
    """Compute bounds in force, roles, cleaned tracks and health of a site at one instant."""
    factor = find_bound_factor(site, inputs, now_s)
    # once, so that criteria, steps and rules see the same roles and bounds
    site = lower_bounds(as_advice(site, find_unproven(inputs.proofs, now_s)), factor)
    if memory.started_s is None:
        memory = replace(memory, started_s=now_s, since_s=now_s)
    if memory.level > site.top_level:  # a site file with fewer levels came: the highest there is stands for it
        memory = replace(memory, level=site.top_level, floor=min(memory.floor, site.top_level))
    context = DecisionContext(site, inputs, memory, now_s, EvaluationCache() if cache is None else cache)
    stepping = [c for c in context.site.criteria if c.kind.followed and c.quantity != "rain"]
    followed = [(c, context.track(c, station)) for c in stepping for station in c.stations]
    tracks: dict[str, list[Track]] = {}
    for _, track in followed:
        tracks.setdefault(track.station, []).append(track)
    healths, sick, series_health = examine(context, tracks)
    witnesses = find_witness_criteria(site)
    return PreparedDecision(
        context=context,
        with_unsigned=add_unsigned(context),
        factor=factor,
        questions=list_questions(context),
        groups=find_groups(site),
        witnesses=witnesses,
        voters=witnesses | {c.id: c for c in site.criteria if c.role == "part"},
        followed=followed,
        tracks=tracks,
        masks=find_maintenance_masks(site, context.inputs, now_s),
        healths=healths,
        series_health=series_health,
        sick=sick,
    )


def find_witness_criteria(site: Site) -> dict[str, Criterion]:
    """Criteria that vote; what models and single images suggest is advice until the site file promotes it."""
    return {c.id: c for c in site.criteria if c.role == "witness"}
