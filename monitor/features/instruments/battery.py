"""When a battery will be empty, from its own voltages or levels, and whether its panel still charges it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Final

from monitor.api.text import Figure, Message, Template

_NO_LIMIT: Final = Template("instrument.battery.no_limit", "no voltage is declared at which it is empty")
_NONE_CAME: Final = Template("instrument.battery.none_came", "no voltage came")
_IS_BELOW: Final = Template("instrument.battery.is_below", "{n} {unit} is at or below {n2} {unit2}")
_VOLTAGE: Final = Template("instrument.battery.voltage", "voltages of 1 day, {n} are needed")
_VOLTAGES: Final = Template("instrument.battery.voltages", "voltages of {n} days, {n2} are needed")
_LEVEL: Final = Template("instrument.battery.level", "levels of 1 day, {n} are needed")
_LEVELS: Final = Template("instrument.battery.levels", "levels of {n} days, {n2} are needed")
_NO_FALL: Final = Template("instrument.battery.no_fall", "the daily lows do not fall")
_FAR: Final = Template("instrument.battery.far", "not within {n} days")
_LINE: Final = Template(
    "instrument.battery.line", "line through the daily lows of {n} days, {n2} {unit} per day, down to {n3} {unit2}"
)

DAY_S: Final = 86400.0
DAYS: Final = 14  # looked back
LEAST_DAYS: Final = 5
FALLING_SHARE: Final = 0.8  # of all pairs of days, the later one must be the lower
FAR_DAYS: Final = 60.0  # farther ahead a straight line says nothing
USUAL_SWING_V: Final = 0.1  # a battery that rises less by day has no panel
LOST_SWING: Final = 0.25  # of the usual swing
NEWEST_DAYS: Final = 3
ENOUGH_HOURS: Final = 3  # of a day, so that one of them may be left out
UNDONE_DAYS: Final = 7.0  # of fall that a new battery undoes at least
SAME_HOUR_S: Final = 5400.0  # so near are the same hours of two days
FEWEST_NEW: Final = 2  # readings of a new battery; one alone may be wrong


@dataclass(frozen=True, slots=True)
class BatteryDay:
    """Lowest and highest voltage, or level, of a day or an hour; `at_s` is the hour of the lowest."""

    at_s: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BatteryExpectation:
    """When a battery is expected to be empty; None = not known, and `method` says why."""

    empty_s: float | None
    method: Message


def split_days(hours: Sequence[BatteryDay], end_s: float) -> list[BatteryDay]:
    """Hours of readings, oldest first, as days that are counted back from an instant.

    One reading alone may be wrong: of three hours or more the lowest but one speaks for the day.

    >>> hours = [BatteryDay(0.0, 12.0, 12.1), BatteryDay(90000.0, 11.9, 12.2), BatteryDay(93600.0, 11.8, 12.0)]
    >>> split_days(hours, 93600.0)
    [BatteryDay(at_s=0.0, low=12.0, high=12.1), BatteryDay(at_s=93600.0, low=11.8, high=12.2)]
    """
    days: dict[int, list[BatteryDay]] = {}
    for hour in hours:
        days.setdefault(int((end_s - hour.at_s) // DAY_S), []).append(hour)
    found = []
    for _, those in sorted(days.items(), reverse=True):
        in_order = sorted(those, key=lambda h: h.low)
        lowest = in_order[len(in_order) >= ENOUGH_HOURS]
        found.append(BatteryDay(lowest.at_s, lowest.low, max(h.high for h in those)))
    return found


def find_new_battery(hours: Sequence[BatteryDay]) -> int:
    """The first hour of the battery that is in use, as a place in its readings: an old one's past says nothing of it.

    A new battery shows as a rise that undoes more than a week of fall and a usual day: all that came since lies so far
    above what came at the same hours of the day before. So the sun alone makes no new battery, and none waits for a
    night. Where nothing came at such an hour, the highest of that day stands for it.

    >>> old = [BatteryDay(n * 21600.0, 12.4 - 0.02 * n, 12.4 - 0.02 * n) for n in range(32)]
    >>> new = [BatteryDay(n * 21600.0, 12.8, 12.8) for n in range(32, 34)]
    >>> find_new_battery([*old, *new]), find_new_battery([*old, new[0]]), find_new_battery(old)
    (32, 0, 0)
    """
    floor = inf
    for place in range(len(hours) - 1, 0, -1):
        floor = min(floor, hours[place].low)
        if floor <= hours[place - 1].high or len(hours) - place < FEWEST_NEW:
            continue
        before, begun_s = hours[:place], hours[place].at_s
        days = split_days(before, before[-1].at_s)
        fall = max(0.0, -median(_list_slopes(days))) if len(days) > 1 else 0.0
        swing = max(0.0, median(d.high - d.low for d in days) - fall)
        last = [h for h in before if h.at_s >= min(begun_s - DAY_S, before[-1].at_s) - SAME_HOUR_S]
        rise = min(h.low - _find_before(last, begun_s - DAY_S + (h.at_s - begun_s) % DAY_S) for h in hours[place:])
        if rise > swing + UNDONE_DAYS * fall:
            return place
    return 0


def _find_before(day: Sequence[BatteryDay], at_s: float) -> float:
    those = [h.high for h in day if abs(h.at_s - at_s) <= SAME_HOUR_S] or [h.high for h in day]
    return max(those)


def _list_slopes(days: Sequence[BatteryDay]) -> list[float]:
    return [(b.low - a.low) * DAY_S / (b.at_s - a.at_s) for i, a in enumerate(days) for b in days[i + 1 :]]


def expect_empty(days: Sequence[BatteryDay], empty: float | None, now_s: float, unit: str = "V") -> BatteryExpectation:
    """Extend the line through the lowest voltages of the last days to the voltage at which the instrument stops.

    In the same way the levels that devices work out themselves, where `unit` is `%`.

    The line is that of Theil and Sen: the median of the slopes of all pairs of days (Sen, 1968, J. Am. Stat. Assoc.
    63), which one cold night does not bend. It is extended only where four pairs in five fall.

    >>> days = [BatteryDay(n * 86400.0, 12.4 - 0.1 * n, 12.9 - 0.1 * n) for n in range(7)]
    >>> found = expect_empty(days, 11.4, 6 * 86400.0)
    >>> round((found.empty_s - 6 * 86400.0) / 86400.0, 6), found.method
    (4.0, 'line through the daily lows of 7 days, -0.1 V per day, down to 11.4 V')
    >>> expect_empty(days, None, 6 * 86400.0).method
    'no voltage is declared at which it is empty'
    """
    if empty is None:
        return BatteryExpectation(None, _NO_LIMIT())
    if not days:
        return BatteryExpectation(None, _NONE_CAME())
    if days[-1].low <= empty and empty > 0.0:  # what still says 0 % of itself may say so for years
        return BatteryExpectation(now_s, _IS_BELOW(n=days[-1].low, unit=unit, n2=empty, unit2=unit))
    if len(days) < LEAST_DAYS:
        one, many = (_VOLTAGE, _VOLTAGES) if unit == "V" else (_LEVEL, _LEVELS)
        return BatteryExpectation(None, one(n=LEAST_DAYS) if len(days) == 1 else many(n=len(days), n2=LEAST_DAYS))
    slopes = _list_slopes(days)
    slope = median(slopes)
    if slope >= 0.0 or sum(s < 0.0 for s in slopes) < FALLING_SHARE * len(slopes):
        return BatteryExpectation(None, _NO_FALL())
    # a battery falls faster towards its end: the newest days say where it stands
    level = median(d.low - slope * (d.at_s - days[-1].at_s) / DAY_S for d in days[-NEWEST_DAYS:])
    left = (level - empty) / -slope
    if left > FAR_DAYS:
        return BatteryExpectation(None, _FAR(n=FAR_DAYS))
    text = _LINE(n=len(days), n2=Figure(slope, ".2g"), unit=unit, n3=empty, unit2=unit)
    return BatteryExpectation(max(now_s, days[-1].at_s + left * DAY_S), text)


def find_lost_charge(days: Sequence[BatteryDay]) -> tuple[float, float] | None:
    """The swing of the last two days and the usual one, V, where the panel charges no more; None where it does.

    >>> sunny = [BatteryDay(n * 86400.0, 12.2, 13.2) for n in range(8)]
    >>> find_lost_charge([*sunny, BatteryDay(8 * 86400.0, 12.1, 12.2), BatteryDay(9 * 86400.0, 12.0, 12.1)]) is not None
    True
    >>> find_lost_charge(sunny) is None
    True
    """
    if len(days) < LEAST_DAYS + 2:
        return None
    swings = [d.high - d.low for d in days]
    now_v, usual_v = max(swings[-2:]), median(swings[:-2])
    return (now_v, usual_v) if usual_v >= USUAL_SWING_V and now_v < LOST_SWING * usual_v else None
