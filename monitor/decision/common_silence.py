"""Detect that all stations on the slope fall silent together while a level stands: the slope may have failed.

`find_common_silence` gets the health of all series and the series that support the standing level. It returns the
stations that are silent together, and since when. A single silent station is reported as a fault of its instrument.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from monitor.decision.records import Condition
from monitor.decision.series.assessment import DecisionContext, belongs_to_series
from monitor.decision.series.station_health import SeriesHealthMap
from monitor.sites.parents import DEFAULT_SILENCE_INTERVALS, Place
from monitor.sites.records import SeriesSpec
from monitor.text.instants import epoch_s
from monitor.text.message import NameList, Template, Term, Timestamp

_ON_SLOPE: Final = Template(
    "health.silent_slope",
    "all {n} stations on the slope have been silent since {at}. The slope may have failed and taken them along. The "
    "level stays {level}. Keep everybody out, inspect the slope from a safe place, and set the level",
)
_SUPPORTING: Final = Template(
    "health.silent_witnesses",
    "all {n} stations that support {level} have been silent since {at}: {names}. The slope may have failed and taken "
    "them along. Keep everybody out, inspect the slope from a safe place, and set the level",
)
# Alert key of common silence.
SILENT_SLOPE: Final = "health:site:silent_slope"
# Number of newest readings of a series whose receptions show its pauses.
RECEPTION_READINGS: Final = 100
# With fewer receptions the pauses of a series are not known.
MIN_RECEPTIONS: Final = 5
# A router or broker that restarts makes all stations silent for less than this time.
RESTART_S: Final = 300.0
# A series is silent after its longest pause times this factor, so that daily transmissions are not silence.
PAUSE_FACTOR: Final = 1.5


@dataclass(frozen=True, slots=True)
class CommonSilence:
    """Stations that fell silent together.

    Attributes:
        stations: All stations on the slope that measure motion, or all that support the standing level.
        since_s: Newest epoch of the overdue series, epoch seconds.
        level: Name of the standing level.
        on_slope: Whether `stations` are all on the slope, not only those that support the level.
    """

    stations: tuple[str, ...]
    since_s: float
    level: str
    on_slope: bool

    def describe(self) -> Condition:
        """Return the urgent condition about the silence."""
        n = len(self.stations)
        at = Timestamp(self.since_s, "minute")
        level = Term(self.level)
        if self.on_slope:
            text = _ON_SLOPE(n=n, at=at, level=level)
        else:
            text = _SUPPORTING(n=n, at=at, level=level, names=NameList(self.stations))
        return Condition("health", 2, self.since_s, text)


def find_common_silence(
    context: DecisionContext, level: int, series_health: SeriesHealthMap, supporting: Collection[Place]
) -> CommonSilence | None:
    """Return the stations that are silent together while a level above the lowest stands; None if there are none.

    The instrument series that measure motion of the slope are examined first, then the series that support the level.
    At least two stations are needed. They are silent together if series of at least half of them are overdue, and no
    series has a newer epoch than these.

    Args:
        level: The standing level.
        supporting: Series that the standing level depends on.
    """
    if level <= 0 or context.inputs.draining:
        return None
    for places, on_slope in ((context.prepared.instrument_motion_series, True), (supporting, False)):
        newest_s: dict[Place, float] = {}
        for place in places:
            epoch_s = series_health[place].newest_s
            if epoch_s is not None:
                newest_s[place] = epoch_s
        overdue = [place for place in newest_s if _is_overdue(context, place)]
        stations = {station for station, _ in newest_s}
        overdue_stations = {station for station, _ in overdue}
        if len(stations) < 2 or 2 * len(overdue_stations) < len(stations):
            continue
        since_s = max(newest_s[place] for place in overdue)
        if max(newest_s.values()) <= since_s:
            return CommonSilence(tuple(sorted(stations)), since_s, context.site.levels[level].name, on_slope)
    return None


def _is_overdue(context: DecisionContext, place: Place) -> bool:
    """Return whether a series has received nothing for longer than its recent pauses, or than its allowed silence.

    The site file may allow a day of silence for a series with readings every half hour. While a level stands that is
    too long. A shorter limit applies then: the longest of three intervals, `RESTART_S`, and `PAUSE_FACTOR` times the
    longest pause between the receptions of the newest `RECEPTION_READINGS` readings.
    """
    spec = context.site.series(*place)
    if spec is None:
        return False
    allowed_s = context.find_silence_s(spec)
    limit_s = min(allowed_s, max(DEFAULT_SILENCE_INTERVALS * spec.interval_s, RESTART_S))
    newest_s = [
        newest.received_s
        for quantity, newest in context.list_newest(place[0])
        if belongs_to_series(context.site, spec, quantity)
    ]
    if newest_s and context.now_s - max(newest_s) <= limit_s:
        # This is the usual case. The pauses need not be computed.
        return False
    receptions_s = _list_receptions(context, spec)
    if len(receptions_s) >= MIN_RECEPTIONS:
        longest_pause_s = max(later_s - earlier_s for earlier_s, later_s in pairwise(receptions_s))
        limit_s = min(allowed_s, max(limit_s, PAUSE_FACTOR * longest_pause_s))
    else:
        limit_s = allowed_s
    return context.now_s - max([*newest_s, *receptions_s], default=context.now_s) > limit_s


def _list_receptions(context: DecisionContext, spec: SeriesSpec) -> list[float]:
    """Return the distinct instants at which the newest readings of a series were received, epoch seconds."""
    receptions_s: set[float] = set()
    for quantity, readings in context.list_readings(spec.station):
        if belongs_to_series(context.site, spec, quantity):
            receptions_s.update(epoch_s(reading.received_at) for reading in readings[-RECEPTION_READINGS:])
    return sorted(receptions_s)
