"""Detect motion of reference stations, which would hide the motion of the stations measured against them.

A `[[relative]]` subtracts a reference from a station, so the station does not show motion that it shares with the
reference. Therefore every criterion on such a station is also computed on the absolute series of the reference, with
the same bounds and without a direction. The result raises no level, because the reference may have drifted alone while
its stations are at rest. It opens a health condition, and the site is not "full" while the condition is open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from monitor.decision.criteria.assess import assess_criterion
from monitor.decision.criteria.history import longest_window
from monitor.decision.incomplete_series import IncompleteSeries
from monitor.decision.keys import VoteKey
from monitor.decision.prepared_site import REFERENCE_SUFFIX
from monitor.decision.records import Condition, Steps
from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext
from monitor.readings.cleaned.step_detector import Jump
from monitor.readings.cleaned.tracks import Track
from monitor.readings.cleaned.vectors import norm
from monitor.sites.records import Criterion, SeriesSpec
from monitor.text.message import Duration, Figure, Message, NameList, Template, Timestamp, join

# A single jump may be due to an antenna or an earthquake. Several jumps within a window are motion.
_MIN_JUMPS: Final = 2
# A station moves with its reference if it moves against it by less than this share of the motion of the reference.
_ALONG_SHARE: Final = 0.5
_KEY_PREFIX: Final = "health:reference:"
MOVES: Final = ":moves"
_MOVES_WITH: Final = Template(
    "reference.moves_with",
    "the reference {reference} moves with the stations measured against it ({stations}): {text}; the level "
    "does not include their common motion",
)
_MOVES: Final = Template(
    "reference.moves",
    "the reference {reference} moves: {text}; the level does not include motion that {stations}, measured against it, "
    "share with it",
)
_JUMPED: Final = Template(
    "reference.jumped",
    "the reference {reference} jumped by {size} at {at}, together with the stations measured against it ({stations}); "
    "an earthquake is possible, or all of them slid; the level does not include this jump",
)
_JUMPS: Final = Template("reference.jumps", "{n} jumps within {window}, the newest by {size} at {at}")
_CHECK: Final = Template(
    "reference.check", "check the ground at the reference, and compare it with a point outside of the slope"
)


def find_reference_motion(context: DecisionContext, assessments: Assessments, steps: Steps) -> dict[str, Condition]:
    """Return a health condition for each reference that moves or that jumped together with its stations, by alert key.

    Args:
        context: The context of the site.
        assessments: Assessments of the stations. A station that moves against the reference does not move with it.
        steps: All steps of the site. A jump of the reference alone is a step of its stations, with a question.
    """
    references = context.prepared.references
    if references is None:
        return {}
    conditions = context.memory.conditions
    if context.inputs.draining:
        return {
            key: condition
            for key, condition in conditions.items()
            if key.startswith(_KEY_PREFIX) and key.endswith(MOVES)
        }
    site = references.prepared.site
    reference_context = replace(context, prepared=references.prepared, _tracks={})
    moving: dict[str, Condition] = {}
    for criterion in site.criteria:
        for assessment in assess_criterion(criterion, reference_context):
            reference = assessment.station
            key = f"{_KEY_PREFIX}{reference}{MOVES}"
            spec = site.series(reference, criterion.quantity)
            if spec is None or (key in moving and moving[key].level > 1):
                continue
            condition = _assess_reference(
                reference_context,
                criterion,
                assessment,
                spec,
                references.stations[reference],
                assessments,
                steps,
                is_open=key in conditions,
            )
            if condition is not None:
                moving[key] = condition
    return moving


def _assess_reference(
    context: DecisionContext,
    criterion: Criterion,
    assessment: Assessment,
    spec: SeriesSpec,
    stations: Sequence[str],
    station_assessments: Assessments,
    steps: Steps,
    *,
    is_open: bool,
) -> Condition | None:
    """Return the condition of a reference according to one criterion, or None if it is at rest."""
    reference = assessment.station
    names = NameList(tuple(stations))
    jumps = _list_jumps(context, criterion, spec, stations, steps)
    has_moved = assessment.raise_level > 0 or (is_open and assessment.hold_level > 0)
    if has_moved or len(jumps) >= _MIN_JUMPS:
        reason = assessment.reason if has_moved else _describe_jumps(jumps, spec, criterion)
        moving_along = [name for name in stations if _moves_along(name, assessment, station_assessments)]
        if moving_along:
            sentence = _MOVES_WITH(reference=reference, stations=NameList(tuple(moving_along)), text=reason)
        else:
            sentence = _MOVES(reference=reference, stations=names, text=reason)
        text = join([sentence, _CHECK()])
        return Condition("health", 2, context.now_s, text)
    if jumps:
        size = Figure(jumps[-1].length, ".3g", spec.unit)
        text = _JUMPED(reference=reference, stations=names, size=size, at=Timestamp(jumps[-1].at_s))
        return Condition("health", 1, jumps[-1].detectable_s, join([text, _CHECK()]))
    return None


def _moves_along(station: str, reference: Assessment, station_assessments: Assessments) -> bool:
    """Return whether a station moves with its reference. The result is True if its motion is not measured."""
    key = VoteKey(reference.criterion.removesuffix(REFERENCE_SUFFIX), station)
    relative = next((assessment for assessment in station_assessments if assessment.key == key), None)
    if relative is None or relative.motion is None or reference.motion is None:
        return True
    return norm(relative.motion) < _ALONG_SHARE * norm(reference.motion)


def _list_jumps(
    context: DecisionContext, criterion: Criterion, spec: SeriesSpec, stations: Sequence[str], steps: Steps
) -> list[Jump]:
    """Return the jumps of a reference within the longest window that its stations do not show and no event explains."""
    track = context.track(criterion, spec.station)
    since_s = context.now_s - longest_window(criterion)
    if context.memory.started_s is not None:
        since_s = max(since_s, context.memory.started_s)
    return [
        jump
        for jump in track.jumps
        if jump.at_s > since_s and not _is_explained(context, jump, spec, track, stations, steps)
    ]


def _is_explained(
    context: DecisionContext, jump: Jump, spec: SeriesSpec, track: Track, stations: Sequence[str], steps: Steps
) -> bool:
    """Return whether a jump is a step of a station, or part of a declared event."""
    near_s = 2.0 * spec.interval_s
    if any(key.station in stations and abs(key.at_s - jump.at_s) <= near_s for key in steps):
        return True
    if track.times_s and jump.at_s >= track.times_s[-1]:
        # The stations are calculated from the reference, so their steps are detected one epoch later.
        return True
    return any(
        event.from_s - near_s <= jump.at_s <= event.to_s + near_s and not event.withdrawn
        for event in context.inputs.events
    )


def _describe_jumps(jumps: Sequence[Jump], spec: SeriesSpec, criterion: Criterion) -> Message:
    return _JUMPS(
        n=len(jumps),
        window=Duration(longest_window(criterion)),
        size=Figure(jumps[-1].length, ".3g", spec.unit),
        at=Timestamp(jumps[-1].at_s),
    )


def list_incomplete_references(moving: Mapping[str, Condition]) -> dict[str, IncompleteSeries]:
    """Return why the site is not "full" while references move, by reference.

    Args:
        moving: Conditions by alert key, as `find_reference_motion` returns them.
    """
    return {
        key.removeprefix(_KEY_PREFIX).removesuffix(MOVES): IncompleteSeries(condition.reason)
        for key, condition in moving.items()
    }
