"""Convert local times of a zone to instants, also in the hour that a clock change skips or repeats."""

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
    """Return the instant of a local time, which is given as minutes after midnight.

    In an hour that the clock repeats, it is the first of the two instants. A time that the clock skips is the instant
    at which the clock is set forward, so that a later local time never gives an earlier instant.

    >>> str(to_instant(date(2026, 3, 1), 480, "Europe/Zurich"))
    '2026-03-01 07:00:00+00:00'
    >>> str(to_instant(date(2026, 3, 29), 150, "Europe/Zurich"))  # 02:30 is skipped
    '2026-03-29 01:00:00+00:00'
    >>> str(to_instant(date(2026, 10, 25), 150, "Europe/Zurich"))  # 02:30 is repeated
    '2026-10-25 00:30:00+00:00'
    """
    zone_info = ZoneInfo(zone)
    local = datetime.combine(day, time()) + timedelta(minutes=minute)
    first, second = (local.replace(tzinfo=zone_info, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(zone_info).replace(tzinfo=None) == local:
        return first
    # The clock is set forward between the two instants. Find this instant by bisection.
    low, high = min(first, second), max(first, second)
    offset_before = low.astimezone(zone_info).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=1) // 2)
        if middle.astimezone(zone_info).utcoffset() == offset_before:
            low = middle
        else:
            high = middle
    return high


def local_day(at: datetime, zone: str) -> date:
    """Return the local date in a zone.

    >>> str(local_day(datetime(2026, 3, 1, 23, 30, tzinfo=UTC), "Europe/Zurich"))
    '2026-03-02'
    """
    return at.astimezone(ZoneInfo(zone)).date()


def read_minute(text: str) -> int:
    """Return the minutes after midnight of a time `HH:MM`.

    >>> read_minute("07:30")
    450

    Raises:
        ValueError: The text is no such time.
    """
    hour, colon, minute = text.partition(":")
    has_digits = (hour + minute).isascii() and (hour + minute).isdigit()
    is_time = len(hour) in {1, 2} and colon and len(minute) == 2 and has_digits
    if not is_time or int(hour) > 23 or int(minute) > 59:
        raise ValueError(f"{text!r} is no time of the day; expected HH:MM")
    return 60 * int(hour) + int(minute)


def format_minute(minute: int) -> str:
    """Format minutes after midnight as `HH:MM`.

    >>> format_minute(450)
    '07:30'
    """
    return f"{minute // 60:02}:{minute % 60:02}"


def read_local(text: str, zone: str, later: bool | None = None) -> datetime:
    """Read a time such as `2026-03-06 20:00` in a zone, or with an offset or Z.

    >>> str(read_local("2026-03-06T20:00", "Europe/Zurich")), str(read_local("2026-03-06T20:00Z", "Europe/Zurich"))
    ('2026-03-06 19:00:00+00:00', '2026-03-06 20:00:00+00:00')
    >>> [str(read_local("2026-10-25 02:30", "Europe/Zurich", later)) for later in (False, True)]
    ['2026-10-25 00:30:00+00:00', '2026-10-25 01:30:00+00:00']

    Args:
        later: Whether the second instant is meant if the clock shows the time twice; None if this is unknown.

    Raises:
        ValueError: The text is no time, the clock skips the time, or the clock shows it twice and `later` is None
            (`TWICE`). The argument of the error is the message.
    """
    day, _, minute = text.strip().replace("T", " ").partition(" ")
    zone_info = ZoneInfo(zone)
    try:
        if len(minute) > 8:
            return parse_time(text.strip())
        plain = datetime.fromisoformat(f"{day} {minute.rjust(5, '0')}")
        if plain.tzinfo is not None:
            return parse_time(text.strip())
        first, second = (plain.replace(tzinfo=zone_info, fold=fold).astimezone(UTC) for fold in (0, 1))
        is_shown = first.astimezone(zone_info).replace(tzinfo=None) == plain
    except (ValueError, OverflowError):
        raise ValueError(_UNREADABLE(text=text[:40])) from None
    if not is_shown:
        raise ValueError(_LEFT_OUT(clock=f"{plain:%H:%M}"))
    if later is None and first != second:
        raise ValueError(TWICE(clock=f"{plain:%H:%M}"))
    return second if later else first


def read_typed_time(text: str, zone: str | None = None, later: bool | None = None) -> datetime:
    """Read a time that a person typed.

    >>> str(read_typed_time("2026-03-06T20:00", "Europe/Zurich"))
    '2026-03-06 19:00:00+00:00'
    >>> read_typed_time("9999-12-31T23:00Z")
    Traceback (most recent call last):
    ValueError: time '9999-12-31T23:00Z' lies before 1800 or after 2200

    Args:
        zone: Name of the zone of a time without an offset. None: such a time is refused.
        later: See `read_local`.

    Raises:
        ValueError: The text is no time, or the time is before 1800 or after 2200. The argument of the error is the
            message.
    """
    at = parse_time(text) if zone is None else read_local(text, zone, later)
    if not EARLIEST <= at < LATEST:
        raise ValueError(_OUT_OF_RANGE(text=text[:40]))
    return at
