"""Times that can be read but are wrong.

Half days without AM or PM, parts of a week or a day, exchanged days and months, clocks without summer time.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from itertools import groupby, pairwise
from statistics import median
from typing import Final
from zoneinfo import ZoneInfo

from monitor.api.errors import ConfigError
from monitor.api.text import LABELLED_TEXT, Figure, Message, Template
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.time_forms import is_heading
from monitor.features.table_import.guess.times import Times, are_days, measure_disorder

_HALF_DAYS: Final = Template(
    "guess.times.half_days",
    "the hours of '{column}' go from 1 to 12 twice a day without AM or PM: write the hours from 0 to 23, and import "
    "the file again",
)
_GPS_WEEKS: Final = Template(
    "guess.times.gps_weeks",
    "'{column}' counts seconds of a GPS week, which are not read: write dates such as 2026-03-01 12:00:00 under the "
    "name 'GPS time', and import the file again",
)
_DECIMAL_HOURS: Final = Template(
    "guess.times.decimal_hours",
    "the clock of '{column}' has numbers such as {value}, which may be hours with a fraction or hours and minutes: "
    "write the minutes behind a colon, such as 8:30, and import the file again",
)
_PARTS_OF_DAY: Final = Template(
    "guess.times.parts_of_day",
    "'{column}' seems to count the {unit} of the day beside '{date}', which are not read: write a clock such as 13:30, "
    "and import the file again",
)
MIXED_ORDERS: Final = Template(
    "guess.ask.dates.mixed",
    "'{column}' jumps to and fro unless dates such as '{value}' have day and month in the other order than the rest, "
    "as spreadsheets exchange them: correct these dates, or do all dates have one order?",
)
NOT_TURNED_IN_SPRING: Final = Template(
    "guess.ask.zone.spring",
    "{n} times such as {at} do not exist in {zone}, where clocks are turned to summer time then. Does the clock of "
    "this file show winter time all year ({fixed}), or is it turned ({zone})?",
)
NOT_TURNED_IN_AUTUMN: Final = Template(
    "guess.ask.zone.autumn",
    "the hour from {at} occurs twice in {zone}, where clocks are turned back then, and only once in this file. Does "
    "the clock of this file show winter time all year ({fixed}), or is it turned ({zone})?",
)
_WEEK_S: Final = 604_800
_DAY_S: Final = 86_400
_DAY_MIN: Final = 1_440
_POINT_CLOCK: Final = "%H.%M"
_CHANGE_MOST: Final = timedelta(hours=2)  # by which clocks are changed in any zone


def refuse_odd_clocks(table: RawTable, times: Times) -> None:
    """Refuse times whose clock lacks a part or has two meanings.

    Raises:
        ConfigError: The clock is one of these; the message contains the remedy.
    """
    for find_problem in (_find_half_days, _find_decimal_hours, _find_part_of_day):
        text = find_problem(table, times)
        if text is not None:
            raise ConfigError(LABELLED_TEXT(name=str(table.path), text=text))


def refuse_gps_weeks(table: RawTable) -> None:
    """Refuse a GPS week with its seconds.

    Raises:
        ConfigError: The table contains them.
    """
    weeks = [name for name in table.keys if is_heading(table.heading(name), "week")]
    for name in table.keys:
        heading = table.heading(name)
        if not is_heading(heading, "seconds_of_week") or name in weeks:
            continue
        numbers = _list_numbers(table, name)
        is_sure = bool(weeks) or "week" in heading.lower()
        if is_sure and numbers and min(numbers) >= 0 and max(numbers) <= _WEEK_S:
            raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_GPS_WEEKS(column=heading)))


def _list_numbers(table: RawTable, name: str) -> list[float]:
    """Return the numbers of a column; nothing if a cell is not a number."""
    try:
        return [float(str(cell).replace(",", ".")) for cell in table.list_cells(name)]
    except ValueError:
        return []


def _find_half_days(table: RawTable, times: Times) -> Message | None:
    """Return that the hours run from 1 to 12 twice a day; None if they do not."""
    if "%H" not in times.rule.format or "%p" in times.rule.format or not times.parsed:
        return None
    hours = {at.hour for at in times.parsed}
    if not hours <= {*range(1, 13)} or not {12, 1} <= hours:
        return None
    steps = pairwise(times.parsed)
    back = [(before, after) for before, after in steps if after < before and after.date() == before.date()]
    days = {at.date() for at in times.parsed}
    if sum(before.hour == 12 and after.hour == 1 for before, after in back) < max(1, len(days) // 2):
        return None
    return _HALF_DAYS(column=table.heading(times.rule.columns[-1]))


def _find_decimal_hours(table: RawTable, times: Times) -> Message | None:
    """Return that the numbers of a clock with a point may be hours with a fraction; None if they are not.

    Spreadsheets drop the zero of 8.30, so one digit behind the point has two meanings. Two digits are minutes, unless
    the steps are even only if they are hundredths of an hour.
    """
    if not times.rule.format.endswith(f" {_POINT_CLOCK}") or len(times.rule.columns) != 2:
        return None
    column = times.rule.columns[1]
    texts = [str(cell).strip().replace(",", ".") for cell in table.list_cells(column)]
    doubtful = [text for text in texts if re.fullmatch(r"\d{1,2}\.[1-9]", text)]
    if not doubtful:
        hundredths = [round(float(text) * 60) for text in texts if re.fullmatch(r"\d{1,2}\.\d\d", text)]
        parts = (text.partition(".") for text in texts)
        minutes = [60 * int(hour) + int(minute) for hour, _, minute in parts if minute]
        if len(hundredths) < len(texts) or _count_steps(hundredths) >= _count_steps(minutes):
            return None
        doubtful = [text for text in texts if not text.endswith(".00")] or texts
    return _DECIMAL_HOURS(column=table.heading(column), value=doubtful[0])


def _count_steps(minutes: Sequence[int]) -> int:
    """Return how many different steps forward the minutes of days make; the steps over midnight go back."""
    return len({after - before for before, after in pairwise(minutes) if after > before})


def _find_part_of_day(table: RawTable, times: Times) -> Message | None:
    """Return that a column counts seconds or minutes of the day beside dates; None if there is no such column.

    Without it, all readings of a day would have one time.
    """
    if not are_days(times) or 2 * len(set(times.parsed)) > len(times.parsed):
        return None
    for name in table.keys:
        heading = table.heading(name)
        numbers = _list_numbers(table, name)
        for kind, unit, most in (("second_of_day", "seconds", _DAY_S), ("minute_of_day", "minutes", _DAY_MIN)):
            if is_heading(heading, kind) and numbers and min(numbers) >= 0 and max(numbers) <= most:
                return _PARTS_OF_DAY(column=heading, unit=unit, date=table.heading(times.rule.columns[0]))
    return None


def find_exchanged(times: Times) -> str | None:
    """Return a date whose day and month seem to be exchanged while other dates have one order; None if there is none.

    A spreadsheet that expects the other order exchanges day and month if the day is 12 at most, and leaves other dates
    as they are. Then the record jumps, and runs evenly once these days are exchanged back.
    """
    form = times.rule.format
    if "%d" not in form or "%m" not in form:
        return None
    days = [day for day, _ in groupby(datetime.combine(at, time()) for at in times.parsed)]
    may_be = [day.day <= 12 for day in days]
    if all(may_be) or not any(may_be):
        return None
    pairs = list(zip(days, may_be, strict=True))
    exchanged = [day.replace(month=day.day, day=day.month) if may else day for day, may in pairs]
    if measure_disorder(exchanged) >= measure_disorder(days):
        return None
    example = next(day for day, may in pairs if may and day.day != day.month)
    return example.strftime(form)


# ---- summer time -----------------------------------------------------------------------------------------------------


def doubt_turning(clocks: Sequence[datetime], zone: ZoneInfo) -> tuple[Message, str] | None:
    """Return why the clock of a record seems to show winter time all year, and the zone of this winter time.

    Args:
        clocks: The times of the record without a zone, each as often as it occurs.
        zone: The zone that a person gave. It has summer time.

    Returns:
        None if the clock may be that of `zone`.
    """
    counts = Counter(at for at in clocks if at.tzinfo is None)
    changes = {at: _measure_change(at, zone) for at in counts}
    skipped = sorted(at for at, change in changes.items() if change > timedelta(0))
    if skipped:
        winter_zone = _name_winter_zone(skipped[0], zone)
        if winter_zone:
            n = Figure(len(skipped), "d")
            at = f"{skipped[0]:%Y-%m-%d %H:%M}"
            text = NOT_TURNED_IN_SPRING(n=n, at=at, zone=zone.key, fixed=winter_zone)
            return text, winter_zone
    repeated = sorted(at for at, change in changes.items() if change < timedelta(0))
    for k, first in enumerate(repeated):
        if k and first - repeated[k - 1] <= _CHANGE_MOST:
            continue  # of the same hour
        winter_zone = _name_winter_zone(first, zone)
        hour = [at for at in repeated if timedelta(0) <= at - first < _CHANGE_MOST]
        if winter_zone and _occurs_once(first, hour, counts, -changes[first]):
            at = f"{first:%Y-%m-%d %H:%M}"
            return NOT_TURNED_IN_AUTUMN(at=at, zone=zone.key, fixed=winter_zone), winter_zone
    return None


def _measure_change(at: datetime, zone: ZoneInfo) -> timedelta:
    """Return by how much clocks are changed at a time: above zero if they skip it, below zero if they show it twice."""
    first, second = (at.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta(0) for fold in (0, 1))
    return second - first


def _name_winter_zone(at: datetime, zone: ZoneInfo) -> str:
    """Return the zone that has the winter time of another one all year; "" if that is not whole hours from UTC."""
    offsets = (at.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta(0) for fold in (0, 1))
    hours = min(offsets) / timedelta(hours=1)
    if hours != int(hours):
        return ""
    return f"Etc/GMT{-int(hours):+d}" if hours else "UTC"


def _occurs_once(first: datetime, hour: Sequence[datetime], counts: Counter[datetime], change: timedelta) -> bool:
    """Return whether an even record contains the times of a repeated hour once, as it contains those around it."""
    near = sorted(at for at in counts if abs(at - first) <= 12 * _CHANGE_MOST)
    steps = [after - before for before, after in pairwise(near)]
    if not steps:
        return False
    step = sorted(steps)[len(steps) // 2]
    if step > change:
        return False
    around = [after - before for before, after in pairwise(near) if first - step <= before <= hour[-1]]
    is_even = all(other == step for other in around) and len(around) > len(hour)
    usual = median(counts[at] for at in near if at not in hour) if len(near) > len(hour) else 0
    is_whole_hour = len(hour) * step >= change
    return is_even and is_whole_hour and sum(counts[at] for at in hour) < 1.5 * usual * len(hour)
