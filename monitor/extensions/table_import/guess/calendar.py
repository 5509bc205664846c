"""Times of a table that cannot be: what they may count instead, and what a person says of them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from forecasting.message import Message, Template
from monitor.domain.instants import EPOCH
from monitor.extensions.table_import.guess.questions import Interview
from monitor.extensions.table_import.guess.raw_table import RawTable
from monitor.extensions.table_import.guess.times import Times, reread
from monitor.ingest.text.clocks import (
    BUDDHIST,
    COUNTS,
    FIRST_AT,
    GPS,
    GPS_BEGIN,
    J2000,
    doubt_century,
    doubt_span,
    doubt_unset,
    find_era,
)

INSTANTS: Final = "times"
AS_THEY_ARE: Final = "as they are"
_FARTHEST: Final = timedelta(hours=14)  # that the clock of a zone is ahead of UTC
# what is said -> what it changes of how times are read
_ERAS: Final[Mapping[str, Mapping[str, Any]]] = {"Buddhist era": {"era": BUDDHIST}, "common era": {"era": ""}}
_COUNTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "since 1970": {"since": EPOCH, "clock": ""},
    "since 1904": {"since": datetime(1904, 1, 1, tzinfo=UTC), "clock": ""},
    "since 2000": {"since": datetime(2000, 1, 1, tzinfo=UTC), "clock": ""},
    "since J2000": {"since": J2000, "clock": ""},
    "GPS time": {"since": GPS_BEGIN, "clock": GPS},
}
_RIGHT: Final = Template("guess.ask.times.right", "{doubt}: are the times right?")
_NO_DAYS: Final = Template(
    "guess.ask.times.days", "some dates are days that the common calendar does not have: in what do they count?"
)


def settle_instants(table: RawTable, times: Times, talk: Interview, now: datetime) -> Times:
    """The times as they count, where they end after now or begin before 1950: that is for a person to say."""
    if times.rule.era and not find_era((table.title(times.rule.columns[0]), *table.notes.values(), *table.above)):
        names = tuple(name for name, changes in _ERAS.items() if changes["era"] == times.rule.era)
        talk.request(INSTANTS, _NO_DAYS(), names, names[0])
        return times
    placed = _place(times)
    late = _FARTHEST if times.rule.zone is None and not times.has_zone else timedelta(0)
    if _doubt(placed, late, now) is None:
        if (doubt := doubt_century(times.rule.format, placed[-1])) is not None:
            talk.request(INSTANTS, _RIGHT(doubt=doubt), (AS_THEY_ARE,))
        return times
    fitting = dict(_list_fitting(table, times, now))
    answer = request_instants(placed, talk, now, tuple(fitting), late)
    return times if answer is None else fitting.get(answer, times)


def _doubt(placed: Sequence[datetime], late: timedelta, now: datetime) -> Message | None:
    return doubt_span(placed[0], placed[-1] - late, now) or doubt_unset(placed)


def request_instants(
    placed: Sequence[datetime],
    talk: Interview,
    now: datetime,
    choices: tuple[str, ...] = (),
    late: timedelta = timedelta(0),
) -> str | None:
    """What a person says of instants, in order, of which some cannot be; None while it is open, or where all can be."""
    if not placed or _doubt(placed, late, now) is None or (doubt := _doubt(placed, timedelta(0), now)) is None:
        return None
    return talk.request(INSTANTS, _RIGHT(doubt=doubt), (*choices, AS_THEY_ARE), next(iter(choices), None))


def _list_fitting(table: RawTable, times: Times, now: datetime) -> Iterator[tuple[str, Times]]:
    """What the times may count, so that all of them lie between 1950 and now."""
    for name, changes in (_COUNTS if times.rule.format in COUNTS else _ERAS).items():
        if all(getattr(times.rule, key) == value for key, value in changes.items()):
            continue
        found = reread(table, times, **changes)
        if found is None or len(found.parsed) < 0.98 * len(times.parsed) or found.parsed == times.parsed:
            continue
        placed = _place(found)
        if placed[0] >= FIRST_AT and placed[-1] <= now + _FARTHEST:
            yield name, found


def _place(times: Times) -> list[datetime]:
    """The instants in order, by their zone where they have one, else as if they were UTC."""
    zone = times.rule.zone or UTC
    return sorted(at if at.tzinfo is not None else at.replace(tzinfo=zone) for at in times.parsed)
