"""Outlines of landslides (footprints) in satellite or drone images near stations.

A change between the images of two dates can be a witness. An outline in the image of a single date is advice only.
"""

from collections.abc import Sequence
from typing import Final

from pydantic import Field

from monitor.decision.criteria.history import no_window
from monitor.decision.records import FootprintFact
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.sections import Duration
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.sections import AroundTable, LevelName, add_params
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion
from monitor.sites.witnesses import SCENE
from monitor.text.instants import format_delay, from_epoch_s
from monitor.text.message import Figure, Message, Template, Term, Value

# Changes of a footprint between two dates that can be a witness.
CHANGED: Final = frozenset({"new", "grown"})
_NO_CHANGE: Final = Template("criterion.scene.unchanged", "no new or grown outline near a station")()
_NO_FOOTPRINT: Final = Template("criterion.scene.no_outline", "no outline near a station")()
_GREW: Final = Template("criterion.scene.grew", "{kind} outline grew by {area} m², {text}, now {area2} m²")
_GREW_SINCE: Final = Template(
    "criterion.scene.grew_since", "{kind} outline grew by {area} m² since {day}, {text}, now {area2} m²"
)
_CHANGED: Final = Template("criterion.scene.changed", "{change} {kind} outline of {area} m², {text}")
_CHANGED_SINCE: Final = Template(
    "criterion.scene.changed_since", "{change} {kind} outline of {area} m² since {day}, {text}"
)
_SINGLE: Final = Template("criterion.scene.single", "{kind} outline of {area} m² in the image of one date, {text}")
_NEAREST: Final = Template("criterion.scene.nearest", "nearest station {distance} m ({station})")
_NEAREST_AND_ONE: Final = Template(
    "criterion.scene.nearest_and_one",
    "nearest station {distance} m ({station}) and {n} other station within {distance2} m",
)
_NEAREST_AND: Final = Template(
    "criterion.scene.nearest_and",
    "nearest station {distance} m ({station}) and {n} other stations within {distance2} m",
)
AND_OTHERS: Final = Template("text.and_others", "{text}, and {n} more")
_DAY: Final = Template("criterion.scene.day", "{n} {mon}")
_DAY_OF: Final = Template("criterion.scene.day_of", "{n} {mon} {year}")
_RECEIVED_LATER: Final = Template("criterion.scene.received_later", "{text}, received {duration} after the image")
_ADVICE_ONLY: Final = Template("criterion.scene.advice_only", "{text} (advice only: {text2})")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


VALID_FOR_S: Final = 30.0 * 86400.0


class SceneTable(AroundTable):
    """kind = "scene"."""

    level: LevelName
    valid_for: Duration = Field(
        VALID_FOR_S, description="how long a footprint counts, from when its image was taken; default 30d"
    )
    near_m: float | None = Field(None, gt=0.0, description="greatest distance of a footprint; default that of [scenes]")

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with the greatest distance of a footprint."""
        del places
        return add_params(criterion, near_m=self.near_m)


def assess_scenes(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """Return one assessment of all footprints near stations, because all images together are one witness.

    A witness uses only changes between two dates that have no caution and were found by a network that passed its test
    at this site.
    """
    is_witness = criterion.role != "advice"
    rows = _list_footprints(criterion, context, is_witness=is_witness)
    if not rows:
        return (Assessment(criterion.id, SCENE, reason=_NO_CHANGE if is_witness else _NO_FOOTPRINT),)
    strongest, near_stations = max(rows, key=lambda row: _rank(row[0]))
    level = criterion.thresholds[0].level
    further_changes = sum(1 for footprint, _ in rows if footprint.change in CHANGED and footprint is not strongest)
    reason = _explain_change(strongest, near_stations)
    if further_changes > 0:
        reason = AND_OTHERS(text=reason, n=further_changes)
    # The age of the vote is that of the image. The reason states how much later the footprint was received.
    delay_s = strongest.received_s - strongest.acquired_s
    if delay_s > 0.0:
        reason = _RECEIVED_LATER(text=reason, duration=format_delay(delay_s))
    return (
        Assessment(
            criterion.id,
            SCENE,
            level,
            level,
            has_data=True,
            newest_s=strongest.acquired_s,
            reason=reason,
            facts={
                "polygon": strongest.polygon,
                "scene": strongest.scene,
                "change": strongest.change,
                "count": len(rows),
            },
        ),
    )


def _list_footprints(
    criterion: Criterion, context: DecisionContext, *, is_witness: bool
) -> list[tuple[FootprintFact, list[tuple[str, float]]]]:
    """Return the footprints that count, each with the stations near it and their distances in metres."""
    tested_weights = _list_tested_weights(criterion, context) if is_witness else None
    rows = []
    for footprint in context.inputs.footprints:
        if footprint.area_m2 < context.site.scenes.minimum_area_m2:
            continue
        if footprint.change not in CHANGED and (is_witness or footprint.change != "single"):
            continue
        if is_witness and footprint.caution:
            continue
        if tested_weights is not None and footprint.model_hash not in tested_weights:
            continue
        if not 0.0 <= context.now_s - footprint.acquired_s <= criterion.valid_for_s:
            continue
        near_stations = _list_near_stations(criterion, footprint, context)
        if near_stations:
            rows.append((footprint, near_stations))
    return rows


def _list_tested_weights(criterion: Criterion, context: DecisionContext) -> set[str] | None:
    """Return the hashes of the weights that passed their test; None if no test is needed."""
    proofs = context.inputs.proofs
    if not proofs:
        return None
    return {proof.weights for proof in proofs if proof.criterion == criterion.id and proof.holds(context.now_s)}


def _list_near_stations(
    criterion: Criterion, footprint: FootprintFact, context: DecisionContext
) -> list[tuple[str, float]]:
    """Return the stations of the criterion near a footprint, nearest first, with their distances in metres."""
    near_m = dict(criterion.params).get("near_m", context.site.scenes.near_m)
    stations = footprint.near
    if not stations and footprint.station is not None and footprint.distance_m is not None:
        # The footprint was stored before the site had a criterion on scenes, with its nearest station only.
        stations = ((footprint.station, footprint.distance_m),)
    return [
        (station_id, distance_m)
        for station_id, distance_m in stations
        if station_id in criterion.stations and distance_m <= near_m
    ]


def _rank(footprint: FootprintFact) -> tuple[float, bool, float, str]:
    """Return the rank of a footprint: by date, then changes above single outlines, then by the size of the change."""
    size_m2 = footprint.area_m2 if footprint.grown_m2 is None else footprint.grown_m2
    return footprint.acquired_s, footprint.change in CHANGED, size_m2, footprint.polygon


def _explain_change(footprint: FootprintFact, stations: Sequence[tuple[str, float]]) -> Message:
    values: dict[str, Value] = {
        "kind": Term(footprint.kind),
        "area": Figure(footprint.area_m2, ",.0f"),
        "text": _describe_near(stations),
    }
    since: dict[str, Value] = (
        {} if footprint.since_s is None else {"day": _describe_day(footprint.since_s, footprint.acquired_s)}
    )
    if footprint.change == "grown" and footprint.grown_m2 is not None:
        values |= {"area": Figure(footprint.grown_m2, ",.0f"), "area2": values["area"]}
        text = _GREW_SINCE(**values, **since) if since else _GREW(**values)
    elif footprint.change in CHANGED:
        values["change"] = Term(footprint.change)
        text = _CHANGED_SINCE(**values, **since) if since else _CHANGED(**values)
    else:
        text = _SINGLE(**values)
    return _ADVICE_ONLY(text=text, text2=footprint.caution) if footprint.caution else text


def _describe_near(stations: Sequence[tuple[str, float]]) -> Message:
    (station_id, distance_m), *others = stations
    nearest: dict[str, Value] = {"distance": Figure(distance_m, ",.0f"), "station": station_id}
    if not others:
        return _NEAREST(**nearest)
    template = _NEAREST_AND_ONE if len(others) == 1 else _NEAREST_AND
    return template(n=len(others), distance2=Figure(others[-1][1], ",.0f"), **nearest)


def _describe_day(since_s: float, taken_s: float) -> Message:
    """Return a UTC date such as `12 May`, with the year if it is not the year of the image."""
    since, taken = from_epoch_s(since_s), from_epoch_s(taken_s)
    day: dict[str, Value] = {"n": since.day, "mon": Term(MONTHS[since.month - 1])}
    return _DAY(**day) if since.year == taken.year else _DAY_OF(year=since.year, **day)


ENTRY: Final = KindEntry(
    Kind(
        id="scene",
        role="advice",
        source="suggestion",
        witness=SCENE,
        facts="footprints",
        feature="scenes",
        plan="scenes",
        loosening="bounds",
        safe_params=(("near_m", "higher"),),
    ),
    SceneTable,
    None,
    assess_scenes,
    implied_s=lambda _: VALID_FOR_S,
    history_s=no_window,
    fact_type=FootprintFact,
    example="""
level = "yellow"
""",
)
