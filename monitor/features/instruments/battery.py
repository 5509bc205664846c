"""Estimate when a battery will be empty, and whether its solar panel still charges it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Final

from monitor.api.text import Figure, Message, Template

_NO_LIMIT: Final = Template(
    "instrument.battery.no_limit", "the site file does not declare the voltage at which it is empty"
)
_NONE_RECEIVED: Final = Template("instrument.battery.none_came", "no voltage has been received")
_IS_BELOW: Final = Template("instrument.battery.is_below", "{n} {unit} is at or below {n2} {unit2}")
_VOLTAGE: Final = Template("instrument.battery.voltage", "voltages of only 1 day; {n} days are needed")
_VOLTAGES: Final = Template("instrument.battery.voltages", "voltages of only {n} days; {n2} days are needed")
_LEVEL: Final = Template("instrument.battery.level", "levels of only 1 day; {n} days are needed")
_LEVELS: Final = Template("instrument.battery.levels", "levels of only {n} days; {n2} days are needed")
_NO_FALL: Final = Template("instrument.battery.no_fall", "its lowest values of each day do not fall")
_FAR: Final = Template("instrument.battery.far", "it will last longer than {n} days")
_LINE: Final = Template(
    "instrument.battery.line", "extrapolated from the lowest values of {n} days, {n2} {unit} per day, to {n3} {unit2}"
)

DAY_S: Final = 86400.0
DAYS: Final = 14  # of the record that is used
MIN_DAYS: Final = 5
FALLING_FRACTION: Final = 0.8  # in this fraction of all pairs of days the later value must be lower
MAX_AHEAD_DAYS: Final = 60.0  # of an extrapolation
MIN_USUAL_SWING_V: Final = 0.1  # a battery that rises less by day has no solar panel
LOST_SWING_FRACTION: Final = 0.25  # of the usual swing
LEVEL_DAYS: Final = 3  # newest days that give the present level
MIN_HOURS_TO_DROP_LOWEST: Final = 3
NEW_BATTERY_DAYS: Final = 7.0  # a new battery undoes at least the fall of so many days
SAME_HOUR_S: Final = 5400.0  # largest difference between the same hours of two days
MIN_NEW_READINGS: Final = 2  # of a new battery; a single reading may be wrong


@dataclass(frozen=True, slots=True)
class BatteryDay:
    """Lowest and highest voltage or level of a day or an hour.

    `at_s` is the hour of the lowest value, epoch seconds.
    """

    at_s: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BatteryExpectation:
    """When a battery is expected to be empty.

    Attributes:
        empty_s: The instant, epoch seconds; None if it is not known.
        method: How the instant was estimated, or why it is not known.
    """

    empty_s: float | None
    method: Message


def split_days(hours: Sequence[BatteryDay], end_s: float) -> list[BatteryDay]:
    """Return the days of hourly values, counted back from an instant. Hours and days are sorted by time.

    A single reading may be wrong. Of a day with three hours or more, the second lowest value is used.

    >>> hours = [BatteryDay(0.0, 12.0, 12.1), BatteryDay(90000.0, 11.9, 12.2), BatteryDay(93600.0, 11.8, 12.0)]
    >>> split_days(hours, 93600.0)
    [BatteryDay(at_s=0.0, low=12.0, high=12.1), BatteryDay(at_s=93600.0, low=11.8, high=12.2)]
    """
    days: dict[int, list[BatteryDay]] = {}
    for hour in hours:
        days.setdefault(int((end_s - hour.at_s) // DAY_S), []).append(hour)
    summaries = []
    for _, hours_of_day in sorted(days.items(), reverse=True):
        by_value = sorted(hours_of_day, key=lambda hour: hour.low)
        lowest = by_value[1] if len(by_value) >= MIN_HOURS_TO_DROP_LOWEST else by_value[0]
        highest = max(hour.high for hour in hours_of_day)
        summaries.append(BatteryDay(lowest.at_s, lowest.low, highest))
    return summaries


def find_new_battery(hours: Sequence[BatteryDay]) -> int:
    """Return the index of the first hour of the battery that is in use now.

    The battery was replaced if all values since then are higher than those at the same hours of the day before, by
    more than the usual swing of a day plus the fall of a week. Therefore sunshine is not taken for a new battery, and a
    new battery is recognised before the first night. The highest value of the day before replaces a missing hour.

    >>> old = [BatteryDay(n * 21600.0, 12.4 - 0.02 * n, 12.4 - 0.02 * n) for n in range(32)]
    >>> new = [BatteryDay(n * 21600.0, 12.8, 12.8) for n in range(32, 34)]
    >>> find_new_battery([*old, *new]), find_new_battery([*old, new[0]]), find_new_battery(old)
    (32, 0, 0)
    """
    lowest_since = inf
    for index in range(len(hours) - 1, 0, -1):
        lowest_since = min(lowest_since, hours[index].low)
        if lowest_since <= hours[index - 1].high or len(hours) - index < MIN_NEW_READINGS:
            continue
        before = hours[:index]
        begin_s = hours[index].at_s
        days = split_days(before, before[-1].at_s)
        fall_per_day = max(0.0, -median(_list_slopes(days))) if len(days) > 1 else 0.0
        swing = max(0.0, median(day.high - day.low for day in days) - fall_per_day)
        last_day_begin_s = min(begin_s - DAY_S, before[-1].at_s) - SAME_HOUR_S
        last_day = [hour for hour in before if hour.at_s >= last_day_begin_s]
        rises = []
        for hour in hours[index:]:
            same_hour_s = begin_s - DAY_S + (hour.at_s - begin_s) % DAY_S
            rises.append(hour.low - _find_highest_at(last_day, same_hour_s))
        if min(rises) > swing + NEW_BATTERY_DAYS * fall_per_day:
            return index
    return 0


def _find_highest_at(day: Sequence[BatteryDay], at_s: float) -> float:
    """Return the highest value of a day near an instant, or of the whole day if there is none."""
    near = [hour.high for hour in day if abs(hour.at_s - at_s) <= SAME_HOUR_S]
    return max(near or [hour.high for hour in day])


def _list_slopes(days: Sequence[BatteryDay]) -> list[float]:
    """Return the slopes of the lowest values between all pairs of days, per day."""
    return [
        (later.low - earlier.low) * DAY_S / (later.at_s - earlier.at_s)
        for index, earlier in enumerate(days)
        for later in days[index + 1 :]
    ]


def expect_empty(days: Sequence[BatteryDay], empty: float | None, now_s: float, unit: str = "V") -> BatteryExpectation:
    """Extrapolate the lowest values of the last days to the value at which the instrument stops.

    The values are voltages, or with `unit` "%" the levels that a device reports. The slope is the median of the slopes
    of all pairs of days (Theil-Sen; Sen, 1968, J. Am. Stat. Assoc. 63), so that a single cold night has little effect.
    There is an estimate only if four of five pairs fall.

    >>> days = [BatteryDay(n * 86400.0, 12.4 - 0.1 * n, 12.9 - 0.1 * n) for n in range(7)]
    >>> expected = expect_empty(days, 11.4, 6 * 86400.0)
    >>> round((expected.empty_s - 6 * 86400.0) / 86400.0, 6), expected.method
    (4.0, 'extrapolated from the lowest values of 7 days, -0.1 V per day, to 11.4 V')
    >>> expect_empty(days, None, 6 * 86400.0).method
    'the site file does not declare the voltage at which it is empty'
    """
    if empty is None:
        return BatteryExpectation(None, _NO_LIMIT())
    if not days:
        return BatteryExpectation(None, _NONE_RECEIVED())
    # A device that reports a level of 0 % still runs, perhaps for years.
    if days[-1].low <= empty and empty > 0.0:
        return BatteryExpectation(now_s, _IS_BELOW(n=days[-1].low, unit=unit, n2=empty, unit2=unit))
    if len(days) < MIN_DAYS:
        singular, plural = (_VOLTAGE, _VOLTAGES) if unit == "V" else (_LEVEL, _LEVELS)
        reason = singular(n=MIN_DAYS) if len(days) == 1 else plural(n=len(days), n2=MIN_DAYS)
        return BatteryExpectation(None, reason)
    slopes = _list_slopes(days)
    slope_per_day = median(slopes)
    falling = sum(slope < 0.0 for slope in slopes)
    if slope_per_day >= 0.0 or falling < FALLING_FRACTION * len(slopes):
        return BatteryExpectation(None, _NO_FALL())
    # A battery falls faster towards its end. The newest days give its present level.
    newest_s = days[-1].at_s
    level = median(day.low - slope_per_day * (day.at_s - newest_s) / DAY_S for day in days[-LEVEL_DAYS:])
    days_left = (level - empty) / -slope_per_day
    if days_left > MAX_AHEAD_DAYS:
        return BatteryExpectation(None, _FAR(n=MAX_AHEAD_DAYS))
    method = _LINE(n=len(days), n2=Figure(slope_per_day, ".2g"), unit=unit, n3=empty, unit2=unit)
    return BatteryExpectation(max(now_s, newest_s + days_left * DAY_S), method)


def find_lost_charge(days: Sequence[BatteryDay]) -> tuple[float, float] | None:
    """Return the swing of the last two days and the usual swing, V, if the solar panel no longer charges the battery.

    Return None if it does, or if the record is too short.

    >>> sunny = [BatteryDay(n * 86400.0, 12.2, 13.2) for n in range(8)]
    >>> find_lost_charge([*sunny, BatteryDay(8 * 86400.0, 12.1, 12.2), BatteryDay(9 * 86400.0, 12.0, 12.1)]) is not None
    True
    >>> find_lost_charge(sunny) is None
    True
    """
    if len(days) < MIN_DAYS + 2:
        return None
    swings_v = [day.high - day.low for day in days]
    newest_v = max(swings_v[-2:])
    usual_v = median(swings_v[:-2])
    is_lost = usual_v >= MIN_USUAL_SWING_V and newest_v < LOST_SWING_FRACTION * usual_v
    return (newest_v, usual_v) if is_lost else None
