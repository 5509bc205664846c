"""Judge two independent stations that jump at the same time by the next two epochs of each.

Lightning, a failing power supply or a disturbed radio cause bad epochs in several instruments at once. A slope that
moved is still displaced, or moves on, at the next epochs. A pair of steps therefore counts only when the next two
epochs of each station confirm it (one, if the second is overdue), or when the deadline is over and none of them
contradicts it. Silence after a step counts as for any other step. With `fusion.fast_track` in the site file a pair
counts at once.

`find_partners` and `is_confirmed` are used by `monitor.decision.series.steps`, which decides what a step counts for.
`find_disturbed` returns the notices about pairs that returned or only scatter.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from monitor.decision.changes import VERIFY_NOW
from monitor.decision.keys import StepKey
from monitor.decision.records import Condition, Step, Steps
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.step_deadlines import find_pairing_time_s, find_step_interval_s
from monitor.decision.series.step_fates import BACK, GOES_ON, LASTS, continues_as_motion, find_fate
from monitor.decision.series.step_states import MOVEMENT, PENDING
from monitor.readings.cleaned.step_detector import SPIKE_REASON
from monitor.readings.cleaned.tracks import Track, Tracks
from monitor.text.message import NameList, Template, Timestamp

_DISTURBANCE: Final = Template(
    "step.together_and_back",
    "common disturbance: {stations} are independent, jumped at {at} and came back at the next epoch. This is no "
    "movement and raises no level. Check for lightning, the power supply and the radio",
)
_SCATTER: Final = Template(
    "step.together_and_scattering",
    "{stations} are independent and have scattered since they jumped at {at}, so their jumps do not count as common "
    "motion. Inspect the slope, the power supply and the radio. Each jump that nobody answers counts for the "
    "lowest level after its deadline",
)
# How long the notice of a common disturbance is shown.
SHOWN_S: Final = 86400.0
DISTURBANCE: Final = "health:site:disturbance"
SCATTER: Final = "health:site:scatter"


@dataclass(frozen=True, slots=True)
class CommonDisturbance:
    """Stations that jumped together.

    Attributes:
        partners: By pending step, the pending steps of independent stations at the same time that do not scatter.
        conditions: Notices and questions about them, by alert key.
    """

    partners: Mapping[StepKey, Sequence[StepKey]]
    conditions: Mapping[str, Condition]


def find_partners(context: DecisionContext, key: StepKey, steps: Steps, pairable: Sequence[StepKey]) -> list[StepKey]:
    """Return the steps of independent stations at the same time.

    Args:
        pairable: Steps that may form a pair. If `key` is not among them it has no partners.
    """
    if key not in pairable:
        return []
    groups = context.prepared.groups
    within_s = find_pairing_time_s(context.site, key.station)
    group = groups.get(key.station)
    at_s = steps[key].at_s
    return [
        other for other in pairable if groups.get(other.station) != group and abs(steps[other].at_s - at_s) <= within_s
    ]


def is_confirmed(context: DecisionContext, key: StepKey, step: Step, tracks: Sequence[Track]) -> bool | None:
    """Return whether later epochs confirm a step.

    Returns:
        True also if the step counts as movement already, or if the site does not wait for further epochs
        (`fusion.fast_track`). None until these epochs are received. False if they only scatter.
    """
    if context.site.fusion.fast_track or step.state == MOVEMENT:
        return True
    if find_fate(step, tracks) not in {LASTS, GOES_ON}:
        return None
    return continues_as_motion(step, tracks, context.now_s, find_step_interval_s(context.site, key.station))


def list_unresolved(
    context: DecisionContext, steps: Steps, tracks: Tracks, pairable: Sequence[StepKey]
) -> set[StepKey]:
    """Return the steps that must be kept for their pair although the detector does not report their jump any more.

    If the next epoch is neither at the old nor at the new position, the detector reports motion or another jump. The
    pair is still judged, because a value that moved on did not return. It ends if the value of all partners returned.
    """
    unresolved = set()
    for key in pairable:
        if find_fate(steps[key], tracks.get(key.station, ())) != GOES_ON:
            continue
        for partner in find_partners(context, key, steps, pairable):
            if find_fate(steps[partner], tracks.get(partner.station, ())) != BACK:
                unresolved.add(key)
                break
    return unresolved


def find_disturbed(
    context: DecisionContext, steps: Steps, tracks: Tracks, stations_alike: Iterable[str]
) -> CommonDisturbance:
    """Return the pending steps with their partners, and the conditions of stations that jumped together.

    Args:
        stations_alike: Stations whose steps are those of their reference.
    """
    excluded = frozenset(stations_alike)
    pending = [key for key, step in steps.items() if step.state == PENDING and key.station not in excluded]
    scattering = [
        key for key in pending if is_confirmed(context, key, steps[key], tracks.get(key.station, ())) is False
    ]
    not_scattering = [key for key in pending if key not in scattering]
    partners = {key: find_partners(context, key, steps, not_scattering) for key in pending}
    conditions = _list_disturbances(context, tracks, excluded)
    scattering_together = [key for key in scattering if find_partners(context, key, steps, scattering)]
    if scattering_together:
        stations = NameList(tuple(sorted({key.station for key in scattering_together})))
        at = Timestamp(min(steps[key].at_s for key in scattering_together), "minute")
        since_s = min(steps[key].known_s for key in scattering_together)
        text = VERIFY_NOW(text=_SCATTER(stations=stations, at=at))
        conditions[SCATTER] = Condition("health", 2, since_s, text)
    return CommonDisturbance(partners, conditions)


def _list_disturbances(context: DecisionContext, tracks: Tracks, excluded: Collection[str]) -> dict[str, Condition]:
    """Return a notice if independent stations jumped at the same time and returned to their earlier positions.

    It is opened in the evaluation in which the last of them has returned, and closed after `SHOWN_S`.
    """
    memory = context.memory
    groups = context.prepared.groups
    for key, step in sorted(memory.steps.items()):
        station = key.station
        if step.state != PENDING or station in excluded:
            continue
        if find_fate(step, tracks.get(station, ())) != BACK:
            continue
        within_s = find_pairing_time_s(context.site, station)
        others = []
        for name, other_tracks in sorted(tracks.items()):
            if name in excluded or groups.get(name) == groups.get(station):
                continue
            if _has_returned(other_tracks, step.at_s, within_s):
                others.append(name)
        if others:
            stations = NameList(tuple(sorted({station, *others})))
            text = _DISTURBANCE(stations=stations, at=Timestamp(step.at_s, "minute"))
            return {DISTURBANCE: Condition("health", 1, context.now_s, text)}
    previous = memory.conditions.get(DISTURBANCE)
    if previous is None or context.now_s >= previous.since_s + SHOWN_S:
        return {}
    return {DISTURBANCE: previous}


def _has_returned(tracks: Sequence[Track], at_s: float, within_s: float) -> bool:
    """Return whether a station jumped within some seconds of an instant and returned."""
    for track in tracks:
        for epoch_s, reason in track.set_aside:
            if reason == SPIKE_REASON and abs(epoch_s - at_s) <= within_s:
                return True
    return False
