"""What images show: change between two dates near a station; an outline seen on one date is advice, never a witness."""

from collections.abc import Sequence
from typing import Final

from pydantic import Field

from monitor.decision.criteria.history import no_window
from monitor.decision.records import FootprintFact, instant
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.sections import AroundTable, LevelName, add_params
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion
from monitor.sites.witnesses import SCENE
from monitor.text.instants import format_delay
from monitor.text.message import Figure, Message, Template, Term, Value

CHANGED: Final = frozenset({"new", "grown"})
_NO_CHANGE: Final = Template("criterion.scene.no_change", "no change")()
_NO_FOOTPRINT: Final = Template("criterion.scene.no_footprint", "no footprint")()
_GREW: Final = Template("criterion.scene.grew", "{kind} outline grew by {area} m², {text}, now {area2} m²")
_GREW_SINCE: Final = Template(
    "criterion.scene.grew_since", "{kind} outline grew by {area} m² since {day}, {text}, now {area2} m²"
)
_CHANGED: Final = Template("criterion.scene.changed", "{change} {kind} outline of {area} m², {text}")
_CHANGED_SINCE: Final = Template(
    "criterion.scene.changed_since", "{change} {kind} outline of {area} m² since {day}, {text}"
)
_SINGLE: Final = Template("criterion.scene.single", "{kind} outline of {area} m² seen on one date, {text}")
_NEAREST: Final = Template("criterion.scene.nearest", "nearest station {distance} m ({station})")
_NEAREST_AND_ONE: Final = Template(
    "criterion.scene.nearest_and_one",
    "nearest station {distance} m ({station}) and {n} other station within {distance2} m",
)
_NEAREST_AND: Final = Template(
    "criterion.scene.nearest_and",
    "nearest station {distance} m ({station}) and {n} other stations within {distance2} m",
)
AND_MORE: Final = Template("text.and_others", "{text}, and {n} more")
_DAY: Final = Template("criterion.scene.day", "{n} {mon}")
_DAY_OF: Final = Template("criterion.scene.day_of", "{n} {mon} {year}")
_KNOWN_LATER: Final = Template("criterion.scene.known_later", "{text}, known {duration} after the image")
_ADVICE_ONLY: Final = Template("criterion.scene.advice_only", "{text} (advice only: {text2})")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SceneTable(AroundTable):
    """kind = "scene"; where it says nothing of `near_m`, that of [scenes] holds."""

    level: LevelName
    near_m: float | None = Field(None, gt=0.0, description="how near a footprint must be; default that of [scenes]")

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """With how near."""
        del places
        return add_params(criterion, near_m=self.near_m)


def assess_scenes(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """A footprint near a station; only change between two dates, and that without a caution, can be a witness.

    One answer for all footprints: images are one witness. As witness or part it hears those weights alone that a
    test of this site speaks for.
    """
    witness = criterion.role != "advice"
    tested = _list_tested(criterion, context) if witness else None
    rows = [
        (f, near)
        for f in context.view.footprints
        if f.area_m2 >= context.site.scenes.minimum_area_m2
        and (f.change in CHANGED or (f.change == "single" and not witness))
        and not (witness and f.caution)
        and (tested is None or f.model_hash in tested)
        and 0.0 <= context.now_s - f.acquired_s <= criterion.valid_for_s
        and (near := _list_near(criterion, f, context))
    ]
    if not rows:
        return (Assessment(criterion.id, SCENE, reason=_NO_CHANGE if witness else _NO_FOOTPRINT),)
    first, near = max(rows, key=lambda row: _rank(row[0]))
    level = criterion.thresholds[0].level
    more = sum(1 for f, _ in rows if f.change in CHANGED and f is not first)
    reason = _explain_change(first, near)
    reason = AND_MORE(text=reason, n=more) if more else reason
    late_s = first.received_s - first.acquired_s  # a vote is as old as the image
    reason = _KNOWN_LATER(text=reason, duration=format_delay(late_s)) if late_s > 0.0 else reason
    return (
        Assessment(
            criterion.id,
            SCENE,
            level,
            level,
            has_data=True,
            newest_s=first.acquired_s,
            reason=reason,
            facts={"polygon": first.polygon, "scene": first.scene, "change": first.change, "count": len(rows)},
        ),
    )


def _list_tested(criterion: Criterion, context: DecisionContext) -> set[str] | None:
    if not (proofs := context.view.proofs):
        return None
    return {f.weights for f in proofs if f.criterion == criterion.id and f.holds(context.now_s)}


def _list_near(criterion: Criterion, fact: FootprintFact, context: DecisionContext) -> list[tuple[str, float]]:
    near_m = dict(criterion.params).get("near_m", context.site.scenes.near_m)
    known = fact.near
    if not known and fact.station is not None and fact.distance_m is not None:
        known = ((fact.station, fact.distance_m),)  # read when no criterion looked so far: the nearest alone
    return [(name, away_m) for name, away_m in known if name in criterion.stations and away_m <= near_m]


def _rank(fact: FootprintFact) -> tuple[float, bool, float, str]:
    """The newest image first, there change before what was seen once, there the largest change."""
    size = fact.area_m2 if fact.grown_m2 is None else fact.grown_m2
    return fact.acquired_s, fact.change in CHANGED, size, fact.polygon


def _explain_change(fact: FootprintFact, stations: Sequence[tuple[str, float]]) -> Message:
    values: dict[str, Value] = {
        "kind": Term(fact.kind),
        "area": Figure(fact.area_m2, ",.0f"),
        "text": _describe_near(stations),
    }
    since: dict[str, Value] = {} if fact.since_s is None else {"day": _describe_day(fact.since_s, fact.acquired_s)}
    if fact.change == "grown" and fact.grown_m2 is not None:
        values |= {"area": Figure(fact.grown_m2, ",.0f"), "area2": values["area"]}
        what = _GREW_SINCE(**values, **since) if since else _GREW(**values)
    elif fact.change in CHANGED:
        values["change"] = Term(fact.change)
        what = _CHANGED_SINCE(**values, **since) if since else _CHANGED(**values)
    else:
        what = _SINGLE(**values)
    return _ADVICE_ONLY(text=what, text2=fact.caution) if fact.caution else what


def _describe_near(stations: Sequence[tuple[str, float]]) -> Message:
    (name, away_m), *others = stations
    nearest: dict[str, Value] = {"distance": Figure(away_m, ",.0f"), "station": name}
    if not others:
        return _NEAREST(**nearest)
    template = _NEAREST_AND_ONE if len(others) == 1 else _NEAREST_AND
    return template(n=len(others), distance2=Figure(others[-1][1], ",.0f"), **nearest)


def _describe_day(since_s: float, taken_s: float) -> Message:
    """`12 May`, with the year where it is another one; days are of UTC."""
    since, taken = instant(since_s), instant(taken_s)
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
    implied_s=lambda _: 30.0 * 86400.0,
    history_s=no_window,
    fact_type=FootprintFact,
    example="""
level = "yellow"
""",
)
