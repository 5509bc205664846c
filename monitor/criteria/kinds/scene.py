"""What images show: change between two dates near a station; an outline seen on one date is advice, never a witness."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import Field

from monitor.criteria.entry import Entry
from monitor.criteria.places import Places, match_stations
from monitor.criteria.tables import CriterionTable, Strings, Target
from monitor.domain.decision import FootprintFact, instant
from monitor.domain.instants import spell_delay
from monitor.domain.kinds import Kind
from monitor.domain.site import Criterion
from monitor.domain.witnesses import SCENE
from monitor.series.assessment import Assessment, Windows

CHANGED: Final = frozenset({"new", "grown"})
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SceneTable(CriterionTable):
    """kind = "scene"; where it says nothing of `near_m`, that of [scenes] holds."""

    stations: Strings = ("*",)
    level: str
    near_m: float | None = Field(default=None, gt=0.0)

    def find_target(self, places: Places) -> Target:
        """Stations near which an outline matters."""
        return match_stations(self.stations, places.stations, None, f"{places.where}.stations"), ""

    def list_params(self) -> dict[str, float | None]:
        """How near."""
        return {"near_m": self.near_m}


@dataclass(frozen=True, slots=True)
class SceneRule:
    """A footprint near a station; only change between two dates, and that without a caution, can be a witness.

    As witness or part it hears those weights alone that a test of this site speaks for.
    """

    criterion: Criterion

    def assess(self, windows: Windows) -> tuple[Assessment, ...]:
        """One answer for all footprints: images are one witness."""
        criterion = self.criterion
        witness = criterion.role != "advice"
        tested = self._list_tested(windows) if witness else None
        rows = [
            (f, near) for f in windows.view.footprints
            if f.area_m2 >= windows.site.scenes.minimum_area_m2
            and (f.change in CHANGED or (f.change == "single" and not witness))
            and not (witness and f.caution)
            and (tested is None or f.model_hash in tested)
            and 0.0 <= windows.now_s - f.acquired_s <= criterion.valid_for_s
            and (near := self._list_near(f, windows))
        ]  # fmt: skip
        if not rows:
            return (Assessment(criterion.id, SCENE, reason="no change" if witness else "no footprint"),)
        first, near = max(rows, key=lambda row: _rank(row[0]))
        level = criterion.thresholds[0].level
        more = sum(1 for f, _ in rows if f.change in CHANGED and f is not first)
        reason = f"{_spell_change(first, near)}{f', and {more} more' if more else ''}{_spell_latency(first)}"
        return (
            Assessment(criterion.id, SCENE, level, level, heard=True, newest_s=first.acquired_s, reason=reason,
                       facts={"polygon": first.polygon, "scene": first.scene, "change": first.change,
                              "count": len(rows)}),
        )  # fmt: skip

    def _list_tested(self, windows: Windows) -> set[str] | None:
        """Weights that may vote; None where nothing asks for a test."""
        if not (proofs := windows.view.proofs):
            return None
        return {f.weights for f in proofs if f.criterion == self.criterion.id and f.holds(windows.now_s)}

    def _list_near(self, fact: FootprintFact, windows: Windows) -> list[tuple[str, float]]:
        """The criterion's stations that a footprint speaks for, nearest first."""
        near_m = dict(self.criterion.params).get("near_m", windows.site.scenes.near_m)
        known = fact.near
        if not known and fact.station is not None and fact.distance_m is not None:
            known = ((fact.station, fact.distance_m),)  # read when no criterion looked so far: the nearest alone
        return [(name, away_m) for name, away_m in known if name in self.criterion.stations and away_m <= near_m]


def _rank(fact: FootprintFact) -> tuple[float, bool, float, str]:
    """The newest image first, there change before what was seen once, there the largest change."""
    size = fact.area_m2 if fact.grown_m2 is None else fact.grown_m2
    return fact.acquired_s, fact.change in CHANGED, size, fact.polygon


def _spell_change(fact: FootprintFact, stations: Sequence[tuple[str, float]]) -> str:
    """One clause: what changed since when, and how near."""
    (name, away_m), *others = stations
    near = f"nearest station {away_m:,.0f} m ({name})"
    if others:
        near += f" and {len(others)} other station{'s' if len(others) > 1 else ''} within {others[-1][1]:,.0f} m"
    since = _spell_since(fact)
    if fact.change == "grown" and fact.grown_m2 is not None:
        what = f"{fact.kind} outline grew by {fact.grown_m2:,.0f} m²{since}, {near}, now {fact.area_m2:,.0f} m²"
    elif fact.change in CHANGED:
        what = f"{fact.change} {fact.kind} outline of {fact.area_m2:,.0f} m²{since}, {near}"
    else:
        what = f"{fact.kind} outline of {fact.area_m2:,.0f} m² seen on one date, {near}"
    return f"{what} (advice only: {fact.caution})" if fact.caution else what


def _spell_since(fact: FootprintFact) -> str:
    """`since 12 May`, with the year where it is another one; days are of UTC."""
    if fact.since_s is None:
        return ""
    since, taken = instant(fact.since_s), instant(fact.acquired_s)
    return f" since {_spell_day(since)}{'' if since.year == taken.year else f' {since.year}'}"


def _spell_day(at: datetime) -> str:
    return f"{at.day} {MONTHS[at.month - 1]}"


def _spell_latency(fact: FootprintFact) -> str:
    """How long after the image was taken it was known; a vote is as old as the image."""
    if fact.received_s <= fact.acquired_s:
        return ""
    return f", known {spell_delay(fact.received_s - fact.acquired_s)} after the image"


ENTRY: Final = Entry(
    Kind(
        id="scene", role="advice", source="suggestion", witness=SCENE, facts="footprints", plan="scenes",
        loosening="bounds", safe_params=(("near_m", "higher"),),
    ),
    SceneTable, None, SceneRule,
    implied_s=lambda _: 30.0 * 86400.0,
    example="""
level = "yellow"
""",
)  # fmt: skip
