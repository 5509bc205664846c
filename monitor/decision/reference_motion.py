"""Motion of the references that `[[relative]]` takes off: a reference that slides hides the motion of all its stations.

A station measured against a reference shows no motion that it shares with that reference. Every criterion that judges
such a station is therefore also computed on the reference's own, absolute series, with the same bounds and without a
direction. What it finds never raises a level: the reference may have drifted alone, and then its stations are at rest.
It opens a health condition, and the site does not see "full" while that is open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from monitor.decision.criteria.assess import assess_criterion
from monitor.decision.criteria.history import longest_window
from monitor.decision.incomplete_series import IncompleteSeries
from monitor.decision.records import Condition, Steps
from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext
from monitor.decision.series.step_detector import Jump
from monitor.decision.series.tracks import Track
from monitor.decision.series.vectors import norm
from monitor.sites.records import Criterion, SeriesSpec, Site, once_per_record
from monitor.sites.witnesses import find_sources
from monitor.text.message import Duration, Figure, Message, NameList, Template, Timestamp, join

# Criteria on references have ids of their own, so that their tracks are cached apart from those of the stations.
_SUFFIX: Final = "~reference"
# One jump may be an antenna or an earthquake. A reference that jumps again and again within a window moves.
_LEAST_JUMPS: Final = 2
# A station whose motion against the reference is slower than this share of the reference's own moves along with it.
_ALONG_SHARE: Final = 0.5
_KEY_PREFIX: Final = "health:reference:"
MOVES: Final = ":moves"
_MOVES_WITH: Final = Template(
    "reference.moves_with",
    "the reference {reference} moves with the stations measured against it ({stations}): {text}; their motion is "
    "relative to it, so the level does not contain what they share with it",
)
_MOVES: Final = Template(
    "reference.moves",
    "the reference {reference} moves: {text}; {stations} are measured against it, so the level does not contain what "
    "they share with it",
)
_JUMPED: Final = Template(
    "reference.jumped",
    "the reference {reference} jumped by {size} at {at}, and {stations}, measured against it, jumped along: an "
    "earthquake, or all of them slid; the level does not contain it",
)
_JUMPS: Final = Template("reference.jumps", "{n} jumps within {window}, the newest by {size} at {at}")
_CHECK: Final = Template(
    "reference.check", "check the ground at the reference, and compare it with a point outside of the slope"
)


@dataclass(frozen=True, slots=True)
class _ReferenceSite:
    """A site whose criteria judge the references of its relative stations instead of the stations themselves."""

    site: Site
    stations: Mapping[str, Sequence[str]]  # relative stations by reference


@once_per_record
def _make_reference_site(site: Site) -> _ReferenceSite | None:
    """Return the site whose criteria judge the references; None without a relative station that is judged."""
    stations: dict[str, list[str]] = {}
    for station, references in find_sources(site).items():
        for reference in references:
            stations.setdefault(reference, []).append(station)
    criteria = [
        replace(criterion, id=f"{criterion.id}{_SUFFIX}", stations=references, direction="norm")
        for criterion in site.criteria
        if criterion.kind.motion and criterion.role != "advice"
        if (references := _list_references(site, criterion, stations))
    ]
    if not criteria:
        return None
    # A reference is declared beside the slope; criteria on motion assess only stations on the slope.
    on_slope = tuple(replace(one, on_slope=True) if one.id in stations else one for one in site.stations)
    return _ReferenceSite(replace(site, stations=on_slope, criteria=tuple(criteria)), stations)


def _list_references(site: Site, criterion: Criterion, stations: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(
        reference
        for reference, measured in stations.items()
        if not {*measured}.isdisjoint(criterion.stations)
        and site.series(reference, criterion.quantity) is not None
        and reference not in criterion.stations
    )


def find_reference_motion(context: DecisionContext, assessments: Assessments, steps: Steps) -> dict[str, Condition]:
    """Return a health condition for each reference that moves or that jumped together with its stations.

    Args:
        assessments: Those of the stations; a station that moves against the reference does not move with it.
        steps: All steps of the site. A jump of the reference alone shows in its stations, where it is a question.
    """
    references = _make_reference_site(context.site)
    if references is None:
        return {}
    conditions = context.memory.conditions
    if context.inputs.draining:
        return {key: c for key, c in conditions.items() if key.startswith(_KEY_PREFIX) and key.endswith(MOVES)}
    site = references.site
    judged = replace(context, site=site, _tracks={})
    found: dict[str, Condition] = {}
    for criterion in site.criteria:
        for assessment in assess_criterion(criterion, judged):
            reference = assessment.station
            key = f"{_KEY_PREFIX}{reference}{MOVES}"
            spec = site.series(reference, criterion.quantity)
            if spec is None or (key in found and found[key].level > 1):
                continue
            stations = references.stations[reference]
            condition = _judge(
                judged, criterion, assessment, spec, stations, assessments, steps, is_open=key in conditions
            )
            if condition is not None:
                found[key] = condition
    return found


def _judge(
    context: DecisionContext,
    criterion: Criterion,
    assessment: Assessment,
    spec: SeriesSpec,
    stations: Sequence[str],
    of_stations: Assessments,
    steps: Steps,
    *,
    is_open: bool,
) -> Condition | None:
    """Return the condition of one reference by one criterion; None where it is at rest."""
    reference = assessment.station
    names = NameList(tuple(stations))
    jumps = _list_jumps(context, criterion, spec, stations, steps)
    has_moved = assessment.raise_level > 0 or (is_open and assessment.hold_level > 0)
    if has_moved or len(jumps) >= _LEAST_JUMPS:
        reason = assessment.reason if has_moved else _describe_jumps(jumps, spec, criterion)
        follow = [name for name in stations if _moves_along(name, assessment, of_stations)]
        if follow:
            sentence = _MOVES_WITH(reference=reference, stations=NameList(tuple(follow)), text=reason)
        else:
            sentence = _MOVES(reference=reference, stations=names, text=reason)
        text = join([sentence, _CHECK()])
        return Condition("health", 2, context.now_s, text)
    if jumps:
        size = Figure(jumps[-1].length, ".3g", spec.unit)
        text = _JUMPED(reference=reference, stations=names, size=size, at=Timestamp(jumps[-1].at_s))
        return Condition("health", 1, jumps[-1].known_s, join([text, _CHECK()]))
    return None


def _moves_along(station: str, reference: Assessment, of_stations: Assessments) -> bool:
    """Return whether a station keeps its distance to its moving reference; true where its motion is not measured."""
    criterion = reference.criterion.removesuffix(_SUFFIX)
    relative = next((one for one in of_stations if (one.criterion, one.station) == (criterion, station)), None)
    if relative is None or relative.motion is None or reference.motion is None:
        return True
    return norm(relative.motion) < _ALONG_SHARE * norm(reference.motion)


def _list_jumps(
    context: DecisionContext, criterion: Criterion, spec: SeriesSpec, stations: Sequence[str], steps: Steps
) -> list[Jump]:
    """List the jumps of a reference within the longest window that its stations do not show and no event explains."""
    track = context.track(criterion, spec.station)
    since_s = context.now_s - longest_window(criterion)
    if context.memory.started_s is not None:
        since_s = max(since_s, context.memory.started_s)
    found = [jump for jump in track.jumps if jump.at_s > since_s]
    return [jump for jump in found if not _is_explained(context, jump, spec, track, stations, steps)]


def _is_explained(
    context: DecisionContext, jump: Jump, spec: SeriesSpec, track: Track, stations: Sequence[str], steps: Steps
) -> bool:
    """Whether a jump is asked about elsewhere, or lies in a declared event."""
    near_s = 2.0 * spec.interval_s
    if any(key.station in stations and abs(key.at_s - jump.at_s) <= near_s for key in steps):
        return True
    if track.times_s and jump.at_s >= track.times_s[-1]:
        # The stations are calculated from it: one epoch later their own steps are known.
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
    """Return why the site does not see "full", by reference, while references of its stations move.

    Args:
        moving: Conditions by alert key, as `find_reference_motion` returns them.
    """
    return {
        key.removeprefix(_KEY_PREFIX).removesuffix(MOVES): IncompleteSeries(condition.reason)
        for key, condition in moving.items()
    }
