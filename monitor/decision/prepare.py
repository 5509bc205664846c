"""Prepare a decision: determine the bounds in force, clean the tracks, and assess the health of each series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.decision.criteria.kinds.earthquake import find_bound_factor
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.proof import find_unproven
from monitor.decision.records import Condition, DecisionInputs, Memory, StationHealth
from monitor.decision.series.assessment import DecisionContext, EvaluationCache
from monitor.decision.series.corrections import add_unsigned, list_questions
from monitor.decision.series.maintenance import MaintenanceMask, find_maintenance_masks
from monitor.decision.series.station_health import SeriesHealthMap, examine_stations
from monitor.readings.cleaned.tracks import Track
from monitor.sites.records import Criterion
from monitor.text.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDecision:
    """The cleaned readings of a site and the health of its instruments at one instant, before criteria are assessed.

    Attributes:
        context: Site, inputs and memory, with the values that count.
        with_unsigned: The context with unsigned corrections in place of the values that count. None if there are no
            such corrections.
        factor: Factor on the bounds after an earthquake; 1 if the declared bounds are in force.
        correction_questions: Questions about unsigned corrections, by name.
        step_tracks: Cleaned tracks with their criteria, in the order of the site file.
        tracks: The same tracks by station.
        masks: Stations whose votes do not count because of maintenance.
        healths: Health of every station according to its readings, without regard to open steps.
        series_health: Health of every series.
        instrument_conditions: Open conditions of instruments, by alert key.
    """

    context: DecisionContext
    with_unsigned: DecisionContext | None
    factor: float
    correction_questions: Mapping[str, Message]
    step_tracks: Sequence[tuple[Criterion, Track]]
    tracks: dict[str, list[Track]]
    masks: Mapping[str, MaintenanceMask]
    healths: tuple[StationHealth, ...]
    series_health: SeriesHealthMap
    instrument_conditions: Mapping[str, Condition]


def prepare(
    prepared_as_declared: PreparedSite,
    inputs: DecisionInputs,
    memory: Memory,
    now_s: float,
    cache: EvaluationCache | None = None,
) -> PreparedDecision:
    """Prepare the decision of a site at one instant.

    Args:
        prepared_as_declared: The site, as its file declares it.
        inputs: Readings and facts.
        memory: The memory that the previous decision returned.
        now_s: The instant, in epoch seconds.
        cache: Tracks and sums of earlier decisions with the same site file.
    """
    factor = find_bound_factor(prepared_as_declared.site, inputs, now_s)
    # Criteria, steps and rules all use these roles and bounds.
    prepared = prepared_as_declared.restrict(find_unproven(inputs.proofs, now_s), factor)
    site = prepared.site
    if memory.started_s is None:
        memory = replace(memory, started_s=now_s, since_s=now_s)
    memory = memory.limit_levels(site.top_level)
    context = DecisionContext(prepared, inputs, memory, now_s, EvaluationCache() if cache is None else cache)
    step_tracks = [
        (criterion, context.track(criterion, station))
        for criterion in prepared.stepping_criteria
        for station in criterion.stations
    ]
    tracks: dict[str, list[Track]] = {}
    for _, track in step_tracks:
        tracks.setdefault(track.station, []).append(track)
    healths, instrument_conditions, series_health = examine_stations(context, tracks)
    return PreparedDecision(
        context=context,
        with_unsigned=add_unsigned(context),
        factor=factor,
        correction_questions=list_questions(context),
        step_tracks=step_tracks,
        tracks=tracks,
        masks=find_maintenance_masks(site, context.inputs, now_s),
        healths=healths,
        series_health=series_health,
        instrument_conditions=instrument_conditions,
    )
