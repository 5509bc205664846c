"""Numbers that count time: the unit, and the instant from which they count."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from monitor.ingest.text.time_words import (
    BARE_ORIGIN_YEARS,
    COUNT_ORIGINS,
    COUNT_UNITS,
    WORDS_BEFORE_ORIGIN,
    compile_alternatives,
)

GPS: Final = "gps"
GPS_BEGIN: Final = datetime(1980, 1, 6, tzinfo=UTC)
J2000: Final = datetime(2000, 1, 1, 12, tzinfo=UTC)
SECONDS_PER_UNIT: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Seconds of one unit, by the name of the time format that counts in it."""

_MOMENT: Final = (
    r"(\d{4})(?:[-/. ](\d{1,2})[-/. ](\d{1,2})(?:[T ](\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:\.\d*)?)?)?)?)?"
    r" *(?:UTC|GMT|Z)? *(?:([+-]\d{1,2})(?::?(\d\d))?)?"
)
_UNITS_SINCE: Final = re.compile(r"\s*([A-Za-z]+)\s+since\s+(.*)", re.IGNORECASE)
_WHOLE_MOMENT: Final = re.compile(_MOMENT, re.IGNORECASE)
_SINCE_MOMENT: Final = re.compile(rf"(?:{compile_alternatives(WORDS_BEFORE_ORIGIN)})\W{{1,2}}{_MOMENT}", re.IGNORECASE)
_BARE_ORIGIN: Final = re.compile(
    rf"(?<!\d)({'|'.join(map(str, BARE_ORIGIN_YEARS))})(?:[-/.](\d{{1,2}})[-/.](\d{{1,2}}))?(?![\d:])"
)
_NAMED_ORIGINS: Final = tuple(
    (re.compile(compile_alternatives(names), re.IGNORECASE), at) for at, names in COUNT_ORIGINS
)
_GPS_WORD: Final = re.compile(r"(?<![a-z])gpst?(?![a-z])", re.IGNORECASE)
_UTC_WORD: Final = re.compile(r"(?<![a-z])(?:utc|gmt)(?![a-z])", re.IGNORECASE)


class TimeCount(NamedTuple):
    """Meaning of a number that counts time.

    Attributes:
        unit: A key of `SECONDS_PER_UNIT`; "" if the words do not contain the unit.
        since: The instant of zero.
        clock: `gps` if the number counts GPS time, else "".
    """

    unit: str
    since: datetime
    clock: str = ""


def find_time_count(text: str) -> TimeCount | None:
    """Return the meaning of a number from the words beside it; None if they contain no origin.

    >>> find_time_count("s since 1904-01-01").since.year, find_time_count("sec_j2000").unit
    (1904, 's')
    >>> find_time_count("gps_seconds").clock
    'gps'
    >>> find_time_count("Time"), find_time_count("epoch 2000").since.year, find_time_count("days since 1950").unit
    (None, 2000, 'd')
    """
    plain = text.replace("_", " ")
    units = [COUNT_UNITS[word] for word in re.findall(r"[^\W\d]+", plain.lower()) if word in COUNT_UNITS]
    unit = units[0] if units else ""
    named_origin = next((at for pattern, at in _NAMED_ORIGINS if pattern.search(plain)), None)
    match = _SINCE_MOMENT.search(plain)
    if match is None and named_origin is None:
        match = _BARE_ORIGIN.search(plain)
    if match is not None:
        try:
            return TimeCount(unit, _read_moment(*match.groups()))
        except ValueError:
            return None
    if named_origin is not None:
        return TimeCount(unit, named_origin)
    return TimeCount(unit, GPS_BEGIN, GPS) if is_gps(text) else None


def is_gps(text: str) -> bool:
    """Return whether the words beside a time name GPS time and not UTC."""
    plain = text.replace("_", " ")
    return _GPS_WORD.search(plain) is not None and _UTC_WORD.search(plain) is None


def read_since(text: str) -> tuple[float, datetime]:
    """Return the seconds of a unit and the origin of "UNITS since DATE", the form of the CF conventions.

    >>> read_since("hours since 1900-01-01 00:00:0.0")[0], read_since("days since 2020-1-1T00:00:00Z")[1].isoformat()
    (3600.0, '2020-01-01T00:00:00+00:00')

    Raises:
        LookupError: The text does not have this form, or the unit is unknown.
        ValueError: The date does not exist.
    """
    match = _UNITS_SINCE.match(text)
    word = "" if match is None else match[1]
    unit = None if word.startswith("Ms") else COUNT_UNITS.get(word.lower())  # `Ms` are megaseconds
    if match is None or unit is None:
        raise LookupError(text)
    moment = _WHOLE_MOMENT.fullmatch(match[2].strip())
    if moment is None:
        raise ValueError(text)
    return SECONDS_PER_UNIT[unit], _read_moment(*moment.groups())


def _read_moment(year: str, month: str | None, day: str | None, *clock: str | None) -> datetime:
    """Return the instant of the parts of `_MOMENT`; missing parts are the first of their kind."""
    parts = (*clock, *(None,) * (5 - len(clock)))
    hour, minute, second, ahead_h, ahead_min = (int(part or 0) for part in parts)
    ahead = timedelta(hours=ahead_h, minutes=ahead_min if ahead_h >= 0 else -ahead_min)
    return datetime(int(year), int(month or 1), int(day or 1), hour, minute, second, tzinfo=UTC) - ahead
