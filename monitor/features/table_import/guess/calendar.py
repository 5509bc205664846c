"""Questions about instants that are implausible, or that may be counted in another way."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from monitor.api.errors import PayloadError
from monitor.api.ingest import (
    BUDDHIST,
    DATENUM,
    EARLIEST_TIME,
    EXCEL,
    GPS,
    GPS_BEGIN,
    J2000,
    JD,
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
from monitor.features.table_import.guess.time_examples import show_instants
from monitor.features.table_import.guess.time_forms import YEAR_DAY, is_heading
from monitor.features.table_import.guess.times import Times

INSTANTS: Final = "times"
TIME_UNIT: Final = "time unit"
AS_THEY_ARE: Final = "as they are"
_AHEAD_MOST: Final = timedelta(hours=14)  # that the clock of a zone is ahead of UTC
_READ_LEAST: Final = 0.98  # share of the times that another way of counting must read

# Answers, and how each changes the rule of the times.
_ERAS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {"Buddhist era": {"era": BUDDHIST}, "common era": {"era": ""}}
)
_ORIGINS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "since 1970": {"since": EPOCH, "clock": ""},
        "since 1904": {"since": datetime(1904, 1, 1, tzinfo=UTC), "clock": ""},
        "since 2000": {"since": datetime(2000, 1, 1, tzinfo=UTC), "clock": ""},
        "since J2000": {"since": J2000, "clock": ""},
        "GPS time": {"since": GPS_BEGIN, "clock": GPS},
    }
)
_DAY_NUMBERS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "days of a spreadsheet": {"format": EXCEL},
        "modified Julian days": {"format": MJD, "since": None},
        "year and day of the year": {"format": YEAR_DAY, "since": None},
    }
)
_UNIT_NAMES: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}
_SIZED_DAY_NUMBERS: Final = {JD: "Julian days", DATENUM: "day numbers of MATLAB"}
_ARE_DAYS: Final = Template(
    "guess.ask.times.days_by_size",
    "the numbers of '{column}' have the size of {way}, and end on {at} as such: are they {way}?",
)
_WHICH_UNIT: Final = Template(
    "guess.ask.times.unit", "the heading of '{column}' names no unit: what do its numbers count since {at}?"
)
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


def settle_instants(table: RawTable, times: Times, interview: Interview, now: datetime) -> Times:
    """Return the times as they count; ask if they are implausible or can be counted in another way.

    A record is implausible if it ends after `now`, begins before 1950, or begins with instants of a clock that was not
    set.

    Raises:
        ConfigError: An answer is not among the choices.
    """
    if times.rule.era and not _names_era(table, times):
        era = next(name for name, changes in _ERAS.items() if changes["era"] == times.rule.era)
        interview.request(INSTANTS, _NO_DAYS(), (era,), era, show_instants(table, {era: times.rule}))
        return times
    times = _settle_unit(table, times, interview)
    answered = _DAY_NUMBERS.get(interview.answers.get(INSTANTS, ""))
    if answered is not None and times.rule.format == answered["format"]:
        return times
    late = _AHEAD_MOST if times.rule.zone is None and not times.has_zone else timedelta(0)
    times = _drop_implausible(times, late, now)
    instants = _to_instants(times)
    if _doubt(instants, late, now) is None:
        return _settle_rivals(table, times, instants, interview, now)
    ways = dict(_list_plausible(table, times, now))
    choices = {name: way.rule for name, way in ways.items()} | {AS_THEY_ARE: times.rule}
    answer = request_instants(instants, interview, now, tuple(ways), late, show_instants(table, choices))
    return times if answer is None else ways.get(answer, times)


def request_instants(
    instants: Sequence[datetime],
    interview: Interview,
    now: datetime,
    choices: tuple[str, ...] = (),
    late: timedelta = timedelta(0),
    examples: Mapping[str, Message] | None = None,
) -> str | None:
    """Ask whether implausible instants are right; return the answer, or None if it is open or nothing is implausible.

    Args:
        instants: The instants of a record, in order.
        interview: Answers and open questions.
        now: The present instant.
        choices: Other ways to count; the first is the default.
        late: How much earlier the instants may be, because their zone is open.
        examples: What each choice means for rows of the file.
    """
    doubt = _doubt(instants, timedelta(0), now) if instants else None
    if doubt is None or _doubt(instants, late, now) is None:
        return None
    default = choices[0] if choices else None
    return interview.request(INSTANTS, _RIGHT(doubt=doubt), (*choices, AS_THEY_ARE), default, examples)


def _doubt(instants: Sequence[datetime], late: timedelta, now: datetime) -> Message | None:
    return doubt_span(instants[0], instants[-1] - late, now) or doubt_unset(instants)


def _drop_implausible(times: Times, late: timedelta, now: datetime) -> Times:
    """Return the plausible interpretations; all of them if none is plausible."""
    plausible = [
        interpretation
        for interpretation in times.interpretations
        if _doubt(_to_instants(interpretation), late, now) is None
    ]
    if not plausible:
        return times
    best, *rivals = plausible
    return replace(best, rivals=tuple(rivals))


def _names_era(table: RawTable, times: Times) -> bool:
    """Return whether the headings name the era of the times."""
    return bool(find_era((table.heading(times.rule.columns[0]), *table.notes.values(), *table.above)))


def _settle_unit(table: RawTable, times: Times, interview: Interview) -> Times:
    """Ask for the unit of numbers whose heading names an origin alone, if several units are plausible."""
    interpretations = {
        _UNIT_NAMES[interpretation.rule.format]: interpretation
        for interpretation in times.interpretations
        if interpretation.rule.format in SECONDS_PER_UNIT
    }
    if len(interpretations) < 2 or times.rule.since is None:
        return times
    text = _WHICH_UNIT(column=table.heading(times.rule.column), at=Timestamp.of(times.rule.since, "minute"))
    examples = show_instants(table, {name: interpretation.rule for name, interpretation in interpretations.items()})
    answer = interview.request(TIME_UNIT, text, tuple(interpretations), examples=examples)
    return replace(times if answer is None else interpretations[answer], rivals=())


def _settle_rivals(
    table: RawTable, times: Times, instants: Sequence[datetime], interview: Interview, now: datetime
) -> Times:
    """Ask about plausible instants that may be others: numbers of days, decimal years, years of two digits."""
    last_at = Timestamp.of(instants[-1], "day")
    examples = show_instants(table, {AS_THEY_ARE: times.rule})
    if times.rule.format == YEAR and _may_be_year_and_day(table, times):
        text = _YEAR_POINT_DAY(column=table.heading(times.rule.column), at=last_at)
        interview.request(INSTANTS, text, (AS_THEY_ARE,), examples=examples)
        return times
    if times.rule.format in {DATENUM, JD} and not _names_day_number(table, times):
        name = _SIZED_DAY_NUMBERS[times.rule.format]
        text = _ARE_DAYS(column=table.heading(times.rule.column), way=Term(name), at=last_at)
        interview.request(INSTANTS, text, (name,), examples=show_instants(table, {name: times.rule}))
        return times
    question = _doubt_day_numbers(table, times, last_at, now)
    if question is not None:
        name = _name_day_number(times.rule.format)
        ways = {name: times} | dict(_list_plausible(table, times, now))
        shown = show_instants(table, {way: interpretation.rule for way, interpretation in ways.items()})
        answer = interview.request(INSTANTS, question, tuple(ways), examples=shown)
        return times if answer is None else ways[answer]
    doubt = doubt_century(times.rule.format, instants[-1])
    if doubt is not None and not times.rivals:  # the order of day, month and year is asked about first
        interview.request(INSTANTS, _RIGHT(doubt=doubt), (AS_THEY_ARE,), examples=examples)
    return times


def _names_day_number(table: RawTable, times: Times) -> bool:
    """Return whether the name of the column contains the kind of its day numbers."""
    heading = table.heading(times.rule.column)
    return is_heading(heading, "julian_day") or is_heading(heading, "matlab_day")


def _name_day_number(form: str) -> str:
    return next(name for name, changes in _DAY_NUMBERS.items() if changes["format"] == form)


def _doubt_day_numbers(table: RawTable, times: Times, last_at: Timestamp, now: datetime) -> Message | None:
    """Return why day numbers of five digits may be a year and a day of the year or the reverse; None if not."""
    form = times.rule.format
    column = table.heading(times.rule.column)
    if form in {EXCEL, YEAR_DAY} and any(rival.rule.format in {EXCEL, YEAR_DAY} for rival in times.rivals):
        return _WHICH_DAYS(column=column, way=Term(_name_day_number(form)), at=last_at)
    if form != EXCEL or len(times.rule.columns) > 1:
        return None
    texts = [str(cell) for cell in table.list_cells(times.rule.column)]
    rule = TimeRule(("day",), YEAR_DAY)
    days: list[datetime] = []
    for text in texts:
        try:
            days.append(rule.read_naive(text.partition(".")[0]).replace(tzinfo=UTC))
        except PayloadError:
            return None
    has_fractions = any("." in text for text in texts)
    if not has_fractions or doubt_span(min(days), max(days), now) is not None:
        return None
    return _FRACTIONS(column=column, way=Term(_name_day_number(EXCEL)), at=last_at)


def _may_be_year_and_day(table: RawTable, times: Times) -> bool:
    """Return whether decimal years have three decimals, each of which can be a day of the year."""
    matches = [_DAYS_OF_A_YEAR.fullmatch(str(cell)) for cell in table.list_cells(times.rule.column)]
    return all(match is not None and 1 <= int(match[1]) <= 366 for match in matches)


def _list_plausible(table: RawTable, times: Times, now: datetime) -> Iterator[tuple[str, Times]]:
    """Yield other ways to count by which all instants are between 1950 and 14 hours after `now`."""
    ways = _ORIGINS if times.rule.format in SECONDS_PER_UNIT else _ERAS
    if times.rule.format in {changes["format"] for changes in _DAY_NUMBERS.values()}:
        ways = _DAY_NUMBERS
    for name, changes in ways.items():
        if all(getattr(times.rule, key) == value for key, value in changes.items()):
            continue
        interpretation = reread(table, times, **changes)
        if (
            interpretation is None
            or len(interpretation.parsed) < _READ_LEAST * len(times.parsed)
            or interpretation.parsed == times.parsed
        ):
            continue
        instants = _to_instants(interpretation)
        if instants[0] >= EARLIEST_TIME and instants[-1] <= now + _AHEAD_MOST:
            yield name, interpretation


def _to_instants(times: Times) -> list[datetime]:
    """Return the instants in order, in the zone of the times; as if they were UTC while it is open."""
    zone = times.rule.zone or UTC
    return sorted(at if at.tzinfo is not None else at.replace(tzinfo=zone) for at in times.parsed)
