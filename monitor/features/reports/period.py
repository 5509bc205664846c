"""Periods of reports by the clock on the wall of a site: days of 23 and 25 hours are days."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAILY, WEEKLY, SHIFT = "daily", "weekly", "shift"
KINDS: Final = (DAILY, WEEKLY, SHIFT)
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHIFT_HOURS: Final = 8  # where nothing says when shifts change


@dataclass(frozen=True, slots=True)
class Period:
    """From an instant, excluded, to another one, included."""

    kind: str
    from_at: datetime
    to_at: datetime


def find_newest(kind: str, now: datetime, zone: ZoneInfo, times: Sequence[time], weekday: int = 0) -> Period:
    """The newest period that has ended: between the last two instants at which such a report is due.

    `kind`: one of `KINDS`; `zone`: of the site; `times`: when reports are due by the clock of the site; `weekday`: of a
    weekly one, 0 = Monday.

    >>> zone, at = ZoneInfo("Europe/Zurich"), datetime(2026, 3, 29, 12, tzinfo=UTC)
    >>> found = find_newest(DAILY, at, zone, [time(7)])
    >>> found.to_at - found.from_at, found.to_at.astimezone(zone).hour
    (datetime.timedelta(seconds=82800), 7)
    """
    today = now.astimezone(zone).date()
    days = [today + timedelta(days=n) for n in range(-16, 2)]
    wanted = [day for day in days if kind != WEEKLY or day.weekday() == weekday]
    ends = sorted({_at(day, at, zone) for day in wanted for at in times})
    past = [end for end in ends if end <= now]
    return Period(kind, past[-2], past[-1])


def find_before(kind: str, to_at: datetime, zone: ZoneInfo, hours: int = SHIFT_HOURS) -> Period:
    """The period that ends at an instant: a day or a week by the clock of the site, or some hours.

    >>> zone, end = ZoneInfo("Europe/Zurich"), datetime(2026, 10, 25, 22, tzinfo=UTC)
    >>> end - find_before(DAILY, end, zone).from_at
    datetime.timedelta(days=1, seconds=3600)
    """
    if kind == SHIFT:
        return Period(kind, to_at - timedelta(hours=hours), to_at)
    local = to_at.astimezone(zone)
    day = local.date() - timedelta(days=7 if kind == WEEKLY else 1)
    return Period(kind, _at(day, local.time(), zone, fold=local.fold), to_at)


def split_days(period: Period, zone: ZoneInfo) -> list[tuple[date, datetime, datetime]]:
    """The days of a period by the calendar of the site, each with the part of it that belongs to the period."""
    found = []
    day, last = period.from_at.astimezone(zone).date(), period.to_at.astimezone(zone).date()
    while day <= last:
        begin, end = _at(day, time(), zone), _at(day + timedelta(days=1), time(), zone)
        low, high = max(begin, period.from_at), min(end, period.to_at)
        if low < high:
            found.append((day, low, high))
        day += timedelta(days=1)
    return found


def read_times(values: Iterable[str]) -> tuple[time, ...]:
    """Times of the day in order, each once; raises ValueError: one is not of the form 07:00.

    >>> read_times(["22:00", "6:00", "06:00"])
    (datetime.time(6, 0), datetime.time(22, 0))
    """
    found = set()
    for value in values:
        try:
            hour, minute = value.split(":")
            found.add(time(int(hour), int(minute)))
        except ValueError:
            raise ValueError(f"expected a time such as '07:00', got {value!r}") from None
    return tuple(sorted(found))


def _at(day: date, at: time, zone: ZoneInfo, *, fold: int = 0) -> datetime:
    """An instant by the clock on the wall; a time that the clock skips is an hour later, of one it shows twice one."""
    return datetime.combine(day, at.replace(tzinfo=None, fold=fold), zone).astimezone(UTC)
