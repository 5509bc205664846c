"""Common silence: what measures the motion falls silent together while a level stands; the slope may have failed."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from monitor.decision.records import Condition, seconds
from monitor.decision.series.assessment import DecisionContext, is_of
from monitor.decision.series.station_health import SeriesHealthMap
from monitor.sites.parents import DEFAULT_SILENCE_INTERVALS, Place
from monitor.sites.witnesses import find_moving_series
from monitor.text.message import NameList, Template, Term, Timestamp

_ON_SLOPE: Final = Template(
    "health.silent_slope",
    "all {n} instruments on the slope are silent since {at}, level was {level}: the slope may have taken them along. "
    "Keep everybody out, look from a safe place, and decide",
)
_BEHIND: Final = Template(
    "health.silent_witnesses",
    "all {n} instruments behind {level} are silent since {at} ({names}): the slope may have taken them along. "
    "Keep everybody out, look from a safe place, and decide",
)
SILENT_SLOPE: Final = "health:site:silent_slope"
LOOKED_AT: Final = 100  # readings of a series whose receptions tell how often it speaks
LEAST: Final = 4  # receptions that do
PATIENCE_S: Final = 300.0  # a router or broker that starts anew is no failure of the slope
PAUSES: Final = 1.5  # of the longest pause between two receptions: an instrument that sends by the day is given its day


@dataclass(frozen=True, slots=True)
class CommonSilence:
    """Instruments that fell silent together: since their last word; all of the slope, or those behind the level."""

    stations: tuple[str, ...]
    since_s: float
    level: str
    on_slope: bool

    def describe(self) -> Condition:
        """The urgent condition that it is."""
        at, level = Timestamp(self.since_s, "minute"), Term(self.level)
        values: dict[str, Any] = {"n": len(self.stations), "at": at, "level": level}
        text = _ON_SLOPE(**values) if self.on_slope else _BEHIND(**values, names=NameList(self.stations))
        return Condition("health", 2, self.since_s, text)


def find_common_silence(
    context: DecisionContext, level: int, series_health: SeriesHealthMap, behind: Collection[Place]
) -> CommonSilence | None:
    """Above the lowest level, silence of all that measures the motion of the slope, or of all that the level rests on.

    It needs two stations at least, of which half have received nothing for as long as each may be silent, and none has
    said anything since the last word of those. One that dies alone is the notice of that instrument.
    """
    if level <= 0 or context.inputs.draining:
        return None
    for places, on_slope in ((find_moving_series(context.site), True), (behind, False)):
        known = {p: at_s for p in places if (at_s := series_health[p].newest_s) is not None}
        overdue = [p for p in known if _is_overdue(context, p)]
        stations = {p[0] for p in known}
        if len(stations) < 2 or 2 * len({p[0] for p in overdue}) < len(stations):
            continue
        since_s = max(known[p] for p in overdue)
        if all(at_s <= since_s for at_s in known.values()):
            return CommonSilence(tuple(sorted(stations)), since_s, context.site.levels[level].name, on_slope)
    return None


def _is_overdue(context: DecisionContext, place: Place) -> bool:
    """Whether nothing was received for longer than its limit, or than three intervals, its longest pause and patience.

    The limit of the site file may be a day for readings of every half hour; at an elevated level that is too long.
    """
    spec = context.site.series(*place)
    if spec is None:
        return False
    limit_s = context.find_silence_s(spec)
    least_s = min(limit_s, max(DEFAULT_SILENCE_INTERVALS * spec.interval_s, PATIENCE_S))
    newest = [n.received_s for q, n in context.list_newest(place[0]) if is_of(context.site, spec, q)]
    if newest and context.now_s - max(newest) <= least_s:
        return False  # the usual case: how often it speaks need not be known
    pauses = sorted(
        {
            seconds(r.received_at)
            for quantity, readings in context.list_readings(place[0])
            if is_of(context.site, spec, quantity)
            for r in readings[-LOOKED_AT:]
        }
    )
    if len(pauses) > LEAST:
        limit_s = min(limit_s, max(least_s, PAUSES * max(b - a for a, b in pairwise(pauses))))
    return context.now_s - max([*newest, *pauses], default=context.now_s) > limit_s
