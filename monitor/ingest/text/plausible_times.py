"""Reasons why the times of a record may be wrong although they can be read."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.ingest.text.counts import find_time_count
from monitor.ingest.text.time_words import UNSET_CLOCKS
from monitor.text.instants import EPOCH, FUTURE_TOLERANCE
from monitor.text.message import Figure, Message, Template, Timestamp

EARLIEST_TIME: Final = datetime(1950, 1, 1, tzinfo=UTC)  # hardly any slope was measured before
CENTURY_MOST: Final = timedelta(days=3652)  # age up to which years of two digits in a mapping are not doubted
_UNSET_MOST: Final = timedelta(days=31)
_YEAR: Final = timedelta(days=365)
_LATE: Final = Template("times.late", "its times end at {at}, which lies ahead of now")
_EARLY: Final = Template("times.early", "its times begin at {at}, before 1950")
_CENTURY: Final = Template(
    "times.century", "its years have two digits and may count in any century or era; read as ours it ends on {at}"
)
_COUNT: Final = Template("times.count", "the header '{name}' counts from {at}, and {taken} was taken")
_UNSET: Final = Template(
    "times.unset",
    "{n} of its times begin at {at}, years before all others, as those of a clock that was not set: take such rows out",
)


def doubt_span(first: datetime, last: datetime, now: datetime) -> Message | None:
    """Return why a record cannot have these times: it ends after `now` or begins before 1950; None if it can."""
    if last - now > FUTURE_TOLERANCE:
        return _LATE(at=Timestamp.of(last, "minute"))
    if first < EARLIEST_TIME:
        return _EARLY(at=Timestamp.of(first, "minute"))
    return None


def find_unset(at: datetime) -> datetime | None:
    """Return the origin of a clock that nobody set, if such a clock may have shown an instant; else None."""
    return next((begin for begin in UNSET_CLOCKS if timedelta(0) <= at - begin < _UNSET_MOST), None)


def doubt_unset(instants: Sequence[datetime]) -> Message | None:
    """Return that the first instants of a record, in order, are those of a clock that nobody set; None if they are not.

    >>> year = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 9)]
    >>> str(doubt_unset([datetime(1970, 1, 1, 0, 10, tzinfo=UTC), *year]))[:30], doubt_unset(year)
    ('1 of its times begin at 1970-0', None)
    """
    if not instants:
        return None
    begin = find_unset(instants[0])
    if begin is None:
        return None
    first = bisect_right(instants, begin + _UNSET_MOST)
    if first == len(instants) or instants[first] - instants[first - 1] < _YEAR or first > len(instants) // 2:
        return None
    return _UNSET(n=Figure(first, ","), at=Timestamp.of(instants[0], "minute"))


def doubt_century(form: str, last: datetime) -> Message | None:
    """Return that a pattern has years of two digits, which leave century and era open; None if it has not.

    The year 69 may be 2569 of the Buddhist era, 04 may be 1404 of the Persian calendar, 08 the year 8 of Reiwa.
    """
    return _CENTURY(at=Timestamp.of(last, "day")) if "%y" in form else None


def doubt_count(text: str, since: datetime | None, first: datetime, last: datetime, now: datetime) -> Message | None:
    """Return that the words beside a number name another origin than `since`; None if they do not.

    An origin from which the record would be implausible is no reason for doubt.
    """
    count = find_time_count(text)
    taken = since or EPOCH
    if count is None or abs(count.since - taken) < timedelta(days=1):
        return None
    shift = count.since - taken
    if doubt_span(first + shift, last + shift, now) is not None:
        return None
    return _COUNT(name=text, at=Timestamp.of(count.since, "day"), taken=Timestamp.of(taken, "day"))
