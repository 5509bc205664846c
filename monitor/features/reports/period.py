"""Periods of reports in the local time of a site. At a clock change a day has 23 or 25 hours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAILY = "daily"
WEEKLY = "weekly"
SHIFT = "shift"
KINDS: Final = (DAILY, WEEKLY, SHIFT)
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHIFT_HOURS: Final = 8  # length of a shift if nothing else is given


@dataclass(frozen=True, slots=True)
class Period:
    """The time after `from_at` until `to_at`; `to_at` belongs to it."""

    kind: str
    from_at: datetime
    to_at: datetime


def find_last_period(kind: str, now: datetime, zone: ZoneInfo, times: Sequence[time], weekday: int = 0) -> Period:
    """Return the newest period that has ended: between the last two instants at which a report of this kind is due.

    Args:
        kind: One of `KINDS`.
        now: The current instant.
        zone: Time zone of the site.
        times: Local times at which reports are due.
        weekday: Day on which a weekly report is due, 0 = Monday.

    >>> zone, now = ZoneInfo("Europe/Zurich"), datetime(2026, 3, 29, 12, tzinfo=UTC)
    >>> period = find_last_period(DAILY, now, zone, [time(7)])
    >>> period.to_at - period.from_at, period.to_at.astimezone(zone).hour
    (datetime.timedelta(seconds=82800), 7)
    """
    today = now.astimezone(zone).date()
    days = [today + timedelta(days=n) for n in range(-16, 2)]
    due_days = [day for day in days if kind != WEEKLY or day.weekday() == weekday]
    due_instants = sorted({_to_instant(day, local_time, zone) for day in due_days for local_time in times})
    past = [instant for instant in due_instants if instant <= now]
    return Period(kind, past[-2], past[-1])


def make_period(kind: str, to_at: datetime, zone: ZoneInfo, hours: int = SHIFT_HOURS) -> Period:
    """Return the period that ends at an instant: a local day, a local week, or a shift of some hours.

    >>> zone, end = ZoneInfo("Europe/Zurich"), datetime(2026, 10, 25, 22, tzinfo=UTC)
    >>> end - make_period(DAILY, end, zone).from_at
    datetime.timedelta(days=1, seconds=3600)
    """
    if kind == SHIFT:
        return Period(kind, to_at - timedelta(hours=hours), to_at)
    local = to_at.astimezone(zone)
    day = local.date() - timedelta(days=7 if kind == WEEKLY else 1)
    return Period(kind, _to_instant(day, local.time(), zone, fold=local.fold), to_at)


def split_days(period: Period, zone: ZoneInfo) -> list[tuple[date, datetime, datetime]]:
    """Return the local days of a period, each with the begin and end of the part that lies in the period."""
    parts = []
    day = period.from_at.astimezone(zone).date()
    last_day = period.to_at.astimezone(zone).date()
    while day <= last_day:
        next_day = day + timedelta(days=1)
        begin = max(_to_instant(day, time(), zone), period.from_at)
        end = min(_to_instant(next_day, time(), zone), period.to_at)
        if begin < end:
            parts.append((day, begin, end))
        day = next_day
    return parts


def read_times(values: Iterable[str]) -> tuple[time, ...]:
    """Return times of the day in ascending order without repetitions. Raises ValueError unless all look like 07:00.

    >>> read_times(["22:00", "6:00", "06:00"])
    (datetime.time(6, 0), datetime.time(22, 0))
    """
    times = set()
    for value in values:
        try:
            hour, minute = value.split(":")
            times.add(time(int(hour), int(minute)))
        except ValueError:
            raise ValueError(f"expected a time such as '07:00', got {value!r}") from None
    return tuple(sorted(times))


def _to_instant(day: date, local_time: time, zone: ZoneInfo, *, fold: int = 0) -> datetime:
    """Return the instant of a local time.

    A time that the clock skips is read an hour later. `fold` selects one of two equal times, as in `datetime`.
    """
    return datetime.combine(day, local_time.replace(tzinfo=None, fold=fold), zone).astimezone(UTC)
