"""Two independent stations that jump at one instant: the next two epochs of each say whether the slope moved.

Lightning, a failing supply or a disturbed radio give bad epochs in several instruments at once. A slope that moved has
moved at the next epochs as well, and the same way. So the pair waits for two more epochs of each, and never longer than
its clock; silence counts as it always does. A site whose file says `fusion.fast_track` believes the pair at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from monitor.decision.keys import StepKey
from monitor.decision.records import Condition, Memory, Step, Steps
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.step_clocks import interval_s, together_s
from monitor.decision.series.step_detector import RETURNED
from monitor.decision.series.step_fates import BACK, GOES_ON, LASTS, find_fate, keeps_its_way
from monitor.decision.series.tracks import Track, Tracks
from monitor.sites.records import Site
from monitor.sites.witnesses import Groups
from monitor.text.message import NameList, Template, Timestamp

_DISTURBANCE: Final = Template(
    "step.disturbance",
    "common disturbance: {stations} are independent, jumped at {at} and came back at the next epoch; no movement, no "
    "level. Look for lightning, the supply and the radio",
)
_SCATTER: Final = Template(
    "step.common_scatter",
    "verify now: {stations} are independent and scatter since {at}, so their jumps are no motion of two. Look at the "
    "slope, the supply and the radio; what nobody answers counts for the lowest level when its clock is over",
)
SHOWN_S: Final = 86400.0  # a common disturbance is shown for a day
DISTURBANCE, SCATTER = "health:site:disturbance", "health:site:scatter"
COMPANY: Final = frozenset({"pending", "counted", "movement"})  # a step in such a state may be one of a pair


@dataclass(frozen=True, slots=True)
class CommonDisturbance:
    """What is said of stations that jumped together."""

    partners: Mapping[StepKey, Sequence[StepKey]]  # by step that waits: steps of other groups that wait with it
    conditions: Mapping[str, Condition]


def find_partners(site: Site, key: StepKey, steps: Steps, company: Sequence[StepKey], groups: Groups) -> list[StepKey]:
    """Steps of stations of other groups that happened with this one; empty when it is none of the company itself."""
    if key not in company:
        return []
    near_s, group = together_s(site, key.station), groups.get(key.station)
    return [k for k in company if groups.get(k.station) != group and abs(steps[k].at_s - steps[key].at_s) <= near_s]


def is_confirmed(context: DecisionContext, key: StepKey, step: Step, tracks: Sequence[Track]) -> bool | None:
    """True when a step has shown itself at later epochs, counts already, or need not on a site that believes at once.

    None while they are waited for, False where they show that it only scatters.
    """
    if context.site.fusion.fast_track or step.state == "movement":
        return True
    if find_fate(step, tracks) not in {LASTS, GOES_ON}:
        return None
    return keeps_its_way(step, tracks, context.now_s, interval_s(context.site, key.station))


def list_unresolved(
    site: Site, steps: Steps, tracks: Tracks, company: Sequence[StepKey], groups: Groups
) -> set[StepKey]:
    """Steps that are seen as steps no more, did not come back, and whose partner has not spoken since.

    Where the next epoch lies elsewhere the walk calls it motion, or asks anew. A pair is judged all the same: what
    went on did not come back.
    """
    return {
        k
        for k in company
        if find_fate(steps[k], tracks.get(k.station, ())) == GOES_ON
        and any(
            find_fate(steps[p], tracks.get(p.station, ())) != BACK
            for p in find_partners(site, k, steps, company, groups)
        )
    }


def find_disturbed(
    context: DecisionContext, steps: Steps, tracks: Tracks, groups: Groups, common: Iterable[str]
) -> CommonDisturbance:
    """Steps that wait in company, and what came back in company.

    Args:
        common: stations whose steps are those of their reference.
    """
    shared = set(common)
    waiting = [k for k, s in steps.items() if s.state == "pending" and k.station not in shared]
    scattering = [k for k in waiting if is_confirmed(context, k, steps[k], tracks.get(k.station, ())) is False]
    moving = [k for k in waiting if k not in scattering]
    partners = {k: find_partners(context.site, k, steps, moving, groups) for k in waiting}
    conditions = _list_disturbances(context, context.memory, tracks, groups, shared)
    if pairs := [k for k in scattering if find_partners(context.site, k, steps, scattering, groups)]:
        names, at_s = NameList(tuple(sorted({k.station for k in pairs}))), min(steps[k].at_s for k in pairs)
        since_s, text = min(steps[k].known_s for k in pairs), _SCATTER(stations=names, at=Timestamp(at_s))
        conditions |= {SCATTER: Condition("health", 2, since_s, text)}
    return CommonDisturbance(partners, conditions)


def _list_disturbances(
    context: DecisionContext, before: Memory, tracks: Tracks, groups: Groups, shared: set[str]
) -> dict[str, Condition]:
    """A notice when stations of several groups jumped at one instant and came back: no movement, but look at them.

    It opens at the look at which the last of them is back, and stays for a day.
    """
    site, now_s = context.site, context.now_s
    known = before.conditions.get(DISTURBANCE)
    found = {DISTURBANCE: known} if known is not None and now_s < known.since_s + SHOWN_S else {}
    for key, step in sorted(before.steps.items()):
        station = key.station
        if step.state != "pending" or station in shared or find_fate(step, tracks.get(station, ())) != BACK:
            continue
        near_s = together_s(site, station)
        others = [
            name
            for name, theirs in sorted(tracks.items())
            if name not in shared
            and groups.get(name) != groups.get(station)
            and any(r == RETURNED and abs(at_s - step.at_s) <= near_s for t in theirs for at_s, r in t.set_aside)
        ]
        if others:
            text = _DISTURBANCE(stations=NameList(tuple(sorted({station, *others}))), at=Timestamp(step.at_s))
            return {DISTURBANCE: Condition("health", 1, now_s, text)}
    return found
