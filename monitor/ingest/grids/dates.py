"""Dates and times in the names of files and bands."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.ingest.text.time_words import ZONES

_DATE: Final = re.compile(r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<mark>[-_.]?)(?P<month>\d\d)(?P=mark)(?P<day>\d\d)")
# Times after a date: 0050, -S003000, T00:50Z, _00-50-30, -6h, 06Z. Two digits without a mark count only directly after
# the date.
_TIME: Final = re.compile(
    r"(?:[-_. ]?[TSts]|[-_. ])?([01]\d|2[0-3]|24(?=\D?00))([:.\-_h]?)([0-5]\d)(?:\2([0-5]\d))?(?:[.,]\d+)?"
    r"(?:Z|UTC|utc|z)?(?![\dA-Za-z:])"
    r"|(?:[-_. ]?[Tt]|[-_. ])?(\d|[01]\d|2[0-4])(?:[hH]|[zZ]|UTC|utc)(?![\dA-Za-z])"
    r"|[-_. ]?T([01]\d|2[0-4])(?![\dA-Za-z:])|([01]\d|2[0-4])(?!\d)"
)
_OFFSET: Final = re.compile(r"\+(\d\d):?([0-5]\d)?(?!\d)|[-_. ]?([A-Z]{3,4})(?![A-Za-z])")  # +0100, CET
# Local time, whose zone is not given; and -0500, which may also be the end of an interval.
_UNKNOWN_ZONE: Final = re.compile(r"[-_. ]?(?:LT|LST|local(?:time)?)(?![A-Za-z])|-\d\d:?[0-5]\d(?!\d)", re.IGNORECASE)
_INTERVAL_END: Final = re.compile(r"[-_. ]?E(\d\d)(\d\d)(\d\d)(?!\d)")
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)


def find_date(text: str, *, use_end: bool = False) -> datetime | None:
    """Return the only date, or date and time, in a name; None if there is none, or more than one.

    Args:
        use_end: Return the end of an interval, if the name states start and end.

    >>> find_date("disp_20240105.tif").isoformat(), find_date("20240105T051230").isoformat(), find_date("a_12.tif")
    ('2024-01-05T00:00:00+00:00', '2024-01-05T05:12:30+00:00', None)
    >>> [find_date(name).isoformat()[11:16] for name in ("RW_20240105-0050.tif", "X.20240105-S003000-E005959.0030.tif")]
    ['00:50', '00:30']
    >>> find_date("X.20240105-S003000-E005959.0030.tif", use_end=True).isoformat()[11:16]
    '01:00'
    >>> [str(find_date(f"20240105T0630{zone}.tif"))[11:16] for zone in ("+0100", "_CEST", "_UTC", "-0500", "_LST")]
    ['05:30', '04:30', '06:30', '', '']
    """
    instants = set()
    for match in _DATE.finditer(text):
        try:
            day = datetime(int(match["year"]), int(match["month"]), int(match["day"]), tzinfo=UTC)
        except ValueError:
            continue
        after_date = text[match.end() :]
        time_match = _TIME.match(after_date)
        if time_match is None:
            is_part_of_number = after_date[:1].isdigit()
            if not is_part_of_number:
                instants.add(day)
            continue
        after_time = after_date[time_match.end() :]
        is_marked_time = time_match[0][0] in "Tt"
        if (is_marked_time or not after_time.startswith("-")) and _UNKNOWN_ZONE.match(after_time):
            return None
        time_of_day = _read_time_of_day(time_match)
        if use_end and (end := _INTERVAL_END.match(after_time)):
            time_of_day = _read_end(end, time_of_day)
        instants.add(day - _find_offset(after_time) + time_of_day)
    return instants.pop() if len(instants) == 1 else None


def _read_time_of_day(match: re.Match[str]) -> timedelta:
    hour, _, minute, second, *other_hours = match.groups("0")
    return timedelta(hours=max(int(text) for text in (hour, *other_hours)), minutes=int(minute), seconds=int(second))


def _read_end(match: re.Match[str], start: timedelta) -> timedelta:
    """Return the end of an interval. Some names state its last second instead, such as 00:59:59."""
    end = timedelta(hours=int(match[1]), minutes=int(match[2]), seconds=int(match[3]))
    if end.seconds % 60 == 59:
        end += _SECOND
    return end if end > start else end + _DAY


def _find_offset(after_time: str) -> timedelta:
    """Return how far the clock of a name is ahead of UTC."""
    match = _OFFSET.match(after_time)
    if match is None:
        return timedelta()
    hours = int(match[1]) if match[1] else ZONES.get(match[3], 0)
    return timedelta(hours=int(hours), minutes=int(match[2] or 0))
