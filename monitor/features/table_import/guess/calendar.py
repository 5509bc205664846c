"""Times of a table that cannot be: what they may count instead, and what a person says of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from monitor.api.errors import PayloadError
from monitor.api.ingest import (
    BUDDHIST,
    EARLIEST_TIME,
    EXCEL,
    GPS,
    GPS_BEGIN,
    J2000,
    MJD,
    SECONDS_PER_UNIT,
    YEAR,
    TimeRule,
    doubt_century,
    doubt_span,
    doubt_unset,
    find_era,
)
from monitor.api.text import EPOCH, Message, Template, Term, Timestamp
from monitor.features.table_import.guess.questions import Interview
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.time_columns import reread
from monitor.features.table_import.guess.time_forms import YEAR_DAY
from monitor.features.table_import.guess.times import Times

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
_DAY_NUMBERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "days of a spreadsheet": {"format": EXCEL},
    "modified Julian days": {"format": MJD, "since": None},
    "year and day of the year": {"format": YEAR_DAY, "since": None},
}
_WHICH_DAYS: Final = Template(
    "guess.ask.times.numbers",
    "the numbers of '{column}' can be counted in more than one way; as {way} they end on {at}: what are they?",
)
_FRACTIONS: Final = Template(
    "guess.ask.times.fractions",
    "the numbers of '{column}' may be a year, a day of the year and a fraction (YYDDD.ddd), which is not read: write "
    "dates in that case; as {way} they end on {at}: what are they?",
)
_YEAR_POINT_DAY: Final = Template(
    "guess.ask.times.year_day",
    "the numbers of '{column}' may be a year and a day of the year (2026.060 for the first of March), which is not "
    "read: write dates in that case; as decimal years they end on {at}: are they right?",
)
_DAYS_OF_A_YEAR: Final = re.compile(r"\d{4}\.(\d{3})")
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
    answered = _DAY_NUMBERS.get(talk.answers.get(INSTANTS, ""))
    if answered is not None and times.rule.format == answered["format"]:
        return times
    placed = _place(times)
    late = _FARTHEST if times.rule.zone is None and not times.has_zone else timedelta(0)
    if _doubt(placed, late, now) is None:
        if times.rule.format == YEAR and _may_be_year_point_day(table, times):
            column = table.title(times.rule.column)
            text = _YEAR_POINT_DAY(column=column, at=Timestamp.of(placed[-1], "day"))
            talk.request(INSTANTS, text, (AS_THEY_ARE,))
            return times
        if (question := _doubt_numbers(table, times, placed, now)) is not None:
            fitting = dict(_list_fitting(table, times, now))
            way = next(name for name, changes in _DAY_NUMBERS.items() if changes["format"] == times.rule.format)
            answer = talk.request(INSTANTS, question, (way, *fitting))
            return fitting.get(answer or "", times)
        if (doubt := doubt_century(times.rule.format, placed[-1])) is not None:
            talk.request(INSTANTS, _RIGHT(doubt=doubt), (AS_THEY_ARE,))
        return times
    fitting = dict(_list_fitting(table, times, now))
    answer = request_instants(placed, talk, now, tuple(fitting), late)
    return times if answer is None else fitting.get(answer, times)


def _doubt_numbers(table: RawTable, times: Times, placed: Sequence[datetime], now: datetime) -> Message | None:
    """Why numbers of five digits that count days may be a year and a day of the year, or the other way round."""
    form = times.rule.format
    column = table.title(times.rule.column)
    last_at = Timestamp.of(placed[-1], "day")
    rivals = [rival for rival in times.rivals if rival.rule.format in {EXCEL, YEAR_DAY}]
    if form in {EXCEL, YEAR_DAY} and rivals:
        way = next(name for name, changes in _DAY_NUMBERS.items() if changes["format"] == form)
        return _WHICH_DAYS(column=column, way=Term(way), at=last_at)
    if form != EXCEL or len(times.rule.columns) > 1:
        return None
    days = [text.partition(".")[0] for text in map(str, table.list_cells(times.rule.column))]
    rule = TimeRule(("day",), YEAR_DAY)
    read: list[datetime] = []
    for text in days:
        try:
            read.append(rule.read_naive(text).replace(tzinfo=UTC))
        except PayloadError:
            return None
    has_fractions = any("." in text for text in map(str, table.list_cells(times.rule.column)))
    if not has_fractions or doubt_span(min(read), max(read), now) is not None:
        return None
    return _FRACTIONS(column=column, way=Term("days of a spreadsheet"), at=last_at)


def _may_be_year_point_day(table: RawTable, times: Times) -> bool:
    """Whether decimal years have three decimals, each of which can be a day of the year."""
    matches = [_DAYS_OF_A_YEAR.fullmatch(str(cell)) for cell in table.list_cells(times.rule.column)]
    return all(match is not None and 1 <= int(match[1]) <= 366 for match in matches)


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
    ways = _COUNTS if times.rule.format in SECONDS_PER_UNIT else _ERAS
    if times.rule.format in {changes["format"] for changes in _DAY_NUMBERS.values()}:
        ways = _DAY_NUMBERS
    for name, changes in ways.items():
        if all(getattr(times.rule, key) == value for key, value in changes.items()):
            continue
        found = reread(table, times, **changes)
        if found is None or len(found.parsed) < 0.98 * len(times.parsed) or found.parsed == times.parsed:
            continue
        placed = _place(found)
        if placed[0] >= EARLIEST_TIME and placed[-1] <= now + _FARTHEST:
            yield name, found


def _place(times: Times) -> list[datetime]:
    """The instants in order, by their zone where they have one, else as if they were UTC."""
    zone = times.rule.zone or UTC
    return sorted(at if at.tzinfo is not None else at.replace(tzinfo=zone) for at in times.parsed)
