"""Judge two independent stations that jump at the same time by the next two epochs of each.

Lightning, a failing power supply or a disturbed radio cause bad epochs in several instruments at once. A slope that
moved is still displaced, or moves on, at the next epochs. A pair of steps therefore waits for two more epochs of each
station, at most until its deadline. Silence after a step counts as for any other step. With `fusion.fast_track` in the
site file a pair counts at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from monitor.decision.keys import StepKey
from monitor.decision.records import Condition, Memory, Step, Steps
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.step_clocks import interval_s, together_s
from monitor.decision.series.step_detector import RETURNED
from monitor.decision.series.step_fates import BACK, GOES_ON, LASTS, continues_as_motion, find_fate
from monitor.decision.series.tracks import Track, Tracks
from monitor.sites.records import Site
from monitor.sites.witnesses import Groups
from monitor.text.message import NameList, Template, Timestamp

_DISTURBANCE: Final = Template(
    "step.together_and_back",
    "common disturbance: {stations} are independent, jumped at {at} and came back at the next epoch. This is no "
    "movement and raises no level. Check for lightning, the power supply and the radio",
)
_SCATTER: Final = Template(
    "step.together_and_scattering",
    "verify now: {stations} are independent and have scattered since they jumped at {at}, so their jumps do not count "
    "as common motion. Inspect the slope, the power supply and the radio. Each jump that nobody answers counts for the "
    "lowest level after its deadline",
)
# How long the notice of a common disturbance is shown.
SHOWN_S: Final = 86400.0
DISTURBANCE: Final = "health:site:disturbance"
SCATTER: Final = "health:site:scatter"
# States of steps that may form a pair.
COMPANY: Final = frozenset({"pending", "counted", "movement"})


@dataclass(frozen=True, slots=True)
class CommonDisturbance:
    """Stations that jumped together.

    Attributes:
        partners: By pending step, the pending steps of other groups at the same time.
        conditions: Notices and questions about them, by alert key.
    """

    partners: Mapping[StepKey, Sequence[StepKey]]
    conditions: Mapping[str, Condition]


def find_partners(site: Site, key: StepKey, steps: Steps, company: Sequence[StepKey], groups: Groups) -> list[StepKey]:
    """Return the steps of other groups at the same time; none if the step is not in `company` itself."""
    if key not in company:
        return []
    together_within_s = together_s(site, key.station)
    group = groups.get(key.station)
    at_s = steps[key].at_s
    return [k for k in company if groups.get(k.station) != group and abs(steps[k].at_s - at_s) <= together_within_s]


def is_confirmed(context: DecisionContext, key: StepKey, step: Step, tracks: Sequence[Track]) -> bool | None:
    """Return whether later epochs confirm a step.

    Returns:
        True also if the step counts already or the site does not wait (`fusion.fast_track`). None until these epochs
        are received. False if they only scatter.
    """
    if context.site.fusion.fast_track or step.state == "movement":
        return True
    if find_fate(step, tracks) not in {LASTS, GOES_ON}:
        return None
    return continues_as_motion(step, tracks, context.now_s, interval_s(context.site, key.station))


def list_unresolved(
    site: Site, steps: Steps, tracks: Tracks, company: Sequence[StepKey], groups: Groups
) -> set[StepKey]:
    """Return the steps that the detector does not report any more, that did not return, and whose pair is still open.

    If the next epoch is elsewhere, the detector reports motion or another jump. The pair is still judged, because
    a value that moved on did not return.
    """
    unresolved = set()
    for key in company:
        if find_fate(steps[key], tracks.get(key.station, ())) != GOES_ON:
            continue
        for partner in find_partners(site, key, steps, company, groups):
            if find_fate(steps[partner], tracks.get(partner.station, ())) != BACK:
                unresolved.add(key)
                break
    return unresolved


def find_disturbed(
    context: DecisionContext, steps: Steps, tracks: Tracks, groups: Groups, common: Iterable[str]
) -> CommonDisturbance:
    """Return the pending steps with their partners, and the conditions of stations that jumped together.

    Args:
        common: Stations whose steps are those of their reference.
    """
    common_stations = set(common)
    site = context.site
    pending = [k for k, step in steps.items() if step.state == "pending" and k.station not in common_stations]
    scattering = [k for k in pending if is_confirmed(context, k, steps[k], tracks.get(k.station, ())) is False]
    moving = [k for k in pending if k not in scattering]
    partners = {k: find_partners(site, k, steps, moving, groups) for k in pending}
    conditions = _list_disturbances(context, context.memory, tracks, groups, common_stations)
    scattering_together = [k for k in scattering if find_partners(site, k, steps, scattering, groups)]
    if scattering_together:
        stations = NameList(tuple(sorted({k.station for k in scattering_together})))
        at = Timestamp(min(steps[k].at_s for k in scattering_together), "minute")
        since_s = min(steps[k].known_s for k in scattering_together)
        conditions[SCATTER] = Condition("health", 2, since_s, _SCATTER(stations=stations, at=at))
    return CommonDisturbance(partners, conditions)


def _list_disturbances(
    context: DecisionContext, memory: Memory, tracks: Tracks, groups: Groups, common_stations: set[str]
) -> dict[str, Condition]:
    """Return a notice if stations of several groups jumped at the same time and returned.

    It opens in the evaluation in which the last of them is back, and stays open for `SHOWN_S`.
    """
    for key, step in sorted(memory.steps.items()):
        station = key.station
        if step.state != "pending" or station in common_stations:
            continue
        if find_fate(step, tracks.get(station, ())) != BACK:
            continue
        together_within_s = together_s(context.site, station)
        others = []
        for name, other_tracks in sorted(tracks.items()):
            if name in common_stations or groups.get(name) == groups.get(station):
                continue
            if _has_returned(other_tracks, step.at_s, together_within_s):
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
            if reason == RETURNED and abs(epoch_s - at_s) <= within_s:
                return True
    return False
