"""Local times of a zone as instants: an hour that a clock change leaves out, and one that comes twice, included."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from monitor.text.instants import EARLIEST, LATEST, parse_time
from monitor.text.message import Template

MINUTES_PER_DAY: Final = 1440
_UNREADABLE: Final = Template("local_time.unreadable", "'{text}': expected a local time such as '2026-03-06 20:00'")
_LEFT_OUT: Final = Template(
    "local_time.left_out", "{clock} is left out that night: clocks go forward; write the time an hour later"
)
_OUT_OF_RANGE: Final = Template("local_time.out_of_range", "time '{text}' lies before 1800 or after 2200")
TWICE: Final = Template(
    "local_time.twice", "{clock} comes twice that night: say whether it was the first or the second time"
)


@lru_cache(maxsize=8192)
def to_instant(day: date, minute: int, zone: str) -> datetime:
    """The instant of a local time, given as minutes after midnight.

    Of an hour that comes twice the first one counts. A time that the clock leaves out is the instant at which it is set
    forward, so that later local times are never earlier instants.

    >>> str(to_instant(date(2026, 3, 1), 480, "Europe/Zurich"))
    '2026-03-01 07:00:00+00:00'
    >>> str(to_instant(date(2026, 3, 29), 150, "Europe/Zurich"))  # 02:30 is left out
    '2026-03-29 01:00:00+00:00'
    >>> str(to_instant(date(2026, 10, 25), 150, "Europe/Zurich"))  # 02:30 comes twice
    '2026-10-25 00:30:00+00:00'
    """
    there = ZoneInfo(zone)
    local = datetime.combine(day, time()) + timedelta(minutes=minute)
    first, second = (local.replace(tzinfo=there, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(there).replace(tzinfo=None) == local:
        return first
    low, high = min(first, second), max(first, second)  # the clock is set forward between them
    before = low.astimezone(there).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=1) // 2)
        low, high = (middle, high) if middle.astimezone(there).utcoffset() == before else (low, middle)
    return high


def local_day(at: datetime, zone: str) -> date:
    """The date that a clock of the zone shows.

    >>> str(local_day(datetime(2026, 3, 1, 23, 30, tzinfo=UTC), "Europe/Zurich"))
    '2026-03-02'
    """
    return at.astimezone(ZoneInfo(zone)).date()


def read_minute(text: str) -> int:
    """Minutes after midnight of `HH:MM`; raises ValueError.

    >>> read_minute("07:30")
    450
    """
    hour, mark, minute = text.partition(":")
    known = (
        len(hour) in {1, 2} and mark and len(minute) == 2 and (hour + minute).isascii() and (hour + minute).isdigit()
    )
    if not known or int(hour) > 23 or int(minute) > 59:
        raise ValueError(f"{text!r} is no time of the day; expected HH:MM")
    return 60 * int(hour) + int(minute)


def format_minute(minute: int) -> str:
    """`HH:MM` of minutes after midnight.

    >>> format_minute(450)
    '07:30'
    """
    return f"{minute // 60:02}:{minute % 60:02}"


def read_local(text: str, zone: str, later: bool | None = None) -> datetime:
    """An instant out of `2026-03-06 20:00` in the time of a zone, or with an offset or Z of its own.

    >>> str(read_local("2026-03-06T20:00", "Europe/Zurich")), str(read_local("2026-03-06T20:00Z", "Europe/Zurich"))
    ('2026-03-06 19:00:00+00:00', '2026-03-06 20:00:00+00:00')
    >>> [str(read_local("2026-10-25 02:30", "Europe/Zurich", later)) for later in (False, True)]
    ['2026-10-25 00:30:00+00:00', '2026-10-25 01:30:00+00:00']

    Args:
        later: which of the two, in the night in which the clock shows a time twice; None = nobody said.

    Raises:
        ValueError: it is none; the clock never shows it; or it shows it twice and nobody said which is meant (`TWICE`).
            Its argument is the message.
    """
    day, _, minute = text.strip().replace("T", " ").partition(" ")
    there = ZoneInfo(zone)
    try:
        if len(minute) > 8:
            return parse_time(text.strip())
        plain = datetime.fromisoformat(f"{day} {minute.rjust(5, '0')}")
        if plain.tzinfo is not None:
            return parse_time(text.strip())
        first, second = (plain.replace(tzinfo=there, fold=fold).astimezone(UTC) for fold in (0, 1))
        is_shown = first.astimezone(there).replace(tzinfo=None) == plain
    except (ValueError, OverflowError):
        raise ValueError(_UNREADABLE(text=text[:40])) from None
    if not is_shown:
        raise ValueError(_LEFT_OUT(clock=f"{plain:%H:%M}"))
    if later is None and first != second:
        raise ValueError(TWICE(clock=f"{plain:%H:%M}"))
    return second if later else first


def read_typed_time(text: str, zone: str | None = None, later: bool | None = None) -> datetime:
    """When something was or will be, as a person says it; a time without an offset is one of the zone.

    >>> str(read_typed_time("2026-03-06T20:00", "Europe/Zurich"))
    '2026-03-06 19:00:00+00:00'
    >>> read_typed_time("9999-12-31T23:00Z")
    Traceback (most recent call last):
    ValueError: time '9999-12-31T23:00Z' lies before 1800 or after 2200

    Args:
        zone: by name; None = a time without an offset is refused.

    Raises:
        ValueError: it is none, or none that counts; its argument is the message.
    """
    at = parse_time(text) if zone is None else read_local(text, zone, later)
    if not EARLIEST <= at < LATEST:
        raise ValueError(_OUT_OF_RANGE(text=text[:40]))
    return at
