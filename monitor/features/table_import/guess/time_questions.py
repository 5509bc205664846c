"""Questions about the times of a table that the file leaves open: order of dates, digits of a clock, zone, days."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from monitor.api.errors import ConfigError
from monitor.api.ingest import BUDDHIST, GPS, SECONDS_PER_UNIT, TimeRule, read_time_of_day
from monitor.api.text import LABELLED_TEXT, Message, Template, Term, Value, join
from monitor.features.table_import.guess.calendar import INSTANTS, settle_instants
from monitor.features.table_import.guess.odd_clocks import MIXED_ORDERS, doubt_turning, find_exchanged
from monitor.features.table_import.guess.questions import FileQuestion, Interview
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.time_examples import show_instants
from monitor.features.table_import.guess.time_forms import DIGIT_CLOCKS
from monitor.features.table_import.guess.times import Times, are_days, names_dates_alone, names_months

DAY_FIRST, MONTH_FIRST, YEAR_FIRST = "day first", "month first", "year first"
CLOCK: Final = "clock"
DATES: Final = "dates"
DAY: Final = "day"
ZONE: Final = "zone"
CLASH: Final = "which zone"
_EXAMPLE_ZONES: Final = ("UTC", "Europe/Rome", "Etc/GMT-1")
_EXAMPLE_TIMES_OF_DAY: Final = ("24:00", "00:00", "07:00")
_DIRECTIVES: Final = {
    "d": "DD",
    "j": "DDD",
    "m": "MM",
    "Y": "YYYY",
    "y": "YY",
    "b": "Mon",
    "H": "hh",
    "I": "hh",
    "M": "mm",
    "S": "ss",
    "f": "fff",
    "p": "AM/PM",
    "a": "Day",
}
_FORMAT_NAMES: Final = {
    "iso": "ISO 8601",
    "year": "decimal years",
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    "min": "minutes since 1970",
    "h": "hours since 1970",
    "d": "days since 1970",
    "excel": "day numbers of a spreadsheet",
    "mjd": "modified Julian days",
    "jd": "Julian days",
    "datenum": "day numbers of MATLAB",
    "year_day_hhmm": "year, day of the year, hhmm",
}
_CALENDARS: Final = {GPS: "GPS time", BUDDHIST: "Buddhist era"}
_SINCE: Final = Template("guess.times.since", "{unit} since {at}")
_TIMES: Final = Template("guess.times", "{column} ({form}), first reading {first}, last reading {last}")
_TIMES_ZONE: Final = Template(
    "guess.times.zone", "{column} ({form}, zone {zone}), first reading {first}, last reading {last}"
)
_DAY_OR_MONTH: Final = Template("guess.ask.dates", "is '{at}' written with the day or the month first?")
_WHICH_DAY: Final = Template(
    "guess.ask.day",
    "'{column}' has dates without a time, and '{rain}' is rain: does the amount of a date fall on that date (answer "
    "24:00), on the day before (00:00), or until a time of that date (such as 07:00)?",
)
_WHICH_MIDNIGHT: Final = Template(
    "guess.ask.day.midnight",
    "all times of '{column}' are midnights, and '{rain}' is rain: does the amount of a date fall on that date (answer "
    "24:00), on the day before (00:00), or until a time of that date (such as 07:00)?",
)
_MONTH_SUMS: Final = Template(
    "guess.months",
    "'{rain}' holds the rain of months: write the last day of each month and the time 24:00, and import the file again",
)
_ODD_DAY: Final = Template("guess.day.odd", "day: expected a time from 00:00 to 24:00, got '{answer}'")
_WHICH_CLOCK: Final = Template(
    "guess.ask.clock",
    "column '{column}' has the numbers {first} to {last} on one date: how do they count? hhmm: hours and minutes; "
    "hhmmss: hours, minutes and seconds",
)
_WHAT_FIRST: Final = Template("guess.ask.dates.year", "what stands first in the date '{at}'?")
_WHICH_ZONE: Final = Template(
    "guess.ask.zone", "which time zone are the times in? Europe/Rome, UTC, Etc/GMT-1 (winter time all year) ..."
)
_ODD_ZONE: Final = Template("guess.zone.unknown", "zone: expected a name such as Europe/Zurich or UTC, got '{answer}'")
_ZONE_CLASH: Final = Template(
    "guess.ask.zone.clash", "the file says that its times are in {own}, the answer says {answer}: which of them counts?"
)


def settle_times(table: RawTable, times: Times, interview: Interview, now: datetime) -> Times:
    """Apply the answers about times, and add a question for each that is open.

    The plausibility of the instants is checked twice, because only the zone can show that a record ends after `now`.

    Raises:
        ConfigError: An answer is not among the choices.
    """
    times = _settle_clock(table, settle_instants(table, times, interview, now), interview)
    _request_order(table, times, interview)
    times = _settle_zone(table, _settle_dates(table, times, interview), interview)
    is_open = any(question.key == INSTANTS for question in interview.questions)
    return times if is_open or times.rule.zone is None else settle_instants(table, times, interview, now)


def settle_day(table: RawTable, times: Times, rain: str | None, interview: Interview) -> Times:
    """Ask when the 24 hours of a daily rain total end.

    Args:
        table: The table.
        times: Its times. Nothing is asked if they have a time of the day other than midnight.
        rain: The name of a column of rain; None if the table has none.
        interview: Answers and open questions.

    Raises:
        ConfigError: The answer is not a time of the day, or the times are months.
    """
    has_dates_alone = names_dates_alone(table, times)
    is_each_hour_open = any(question.key == "hours" for question in interview.questions)
    are_midnights = are_days(times) and not times.has_zone and not times.rule.clock and not is_each_hour_open
    if rain is None or not (has_dates_alone or are_midnights):
        return times
    if names_months(times):
        raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_MONTH_SUMS(rain=rain)))
    ends = {text: replace(times.rule, date_counts_at=read_time_of_day(text)) for text in _EXAMPLE_TIMES_OF_DAY}
    template = _WHICH_DAY if has_dates_alone else _WHICH_MIDNIGHT
    question = template(column=times.rule.column, rain=rain)
    answer = interview.request(DAY, question, examples=show_instants(table, ends))
    if answer is None:
        return times
    try:
        counts_at = read_time_of_day(answer)
    except ValueError:
        raise ConfigError(_ODD_DAY(answer=answer)) from None
    return replace(times, rule=replace(times.rule, date_counts_at=counts_at))


def describe_times(times: Times) -> Message:
    """Describe column, form, zone and span of the times by the clock of the file."""
    ordered = sorted(times.parsed, key=lambda at: at.replace(tzinfo=None))
    values: dict[str, Value] = {
        "column": times.rule.column,
        "form": _describe_form(times),
        "first": f"{ordered[0]:%Y-%m-%d %H:%M}",
        "last": f"{ordered[-1]:%Y-%m-%d %H:%M}",
    }
    if times.rule.zone is None:
        return _TIMES(**values)
    return _TIMES_ZONE(zone=times.rule.zone.key, **values)


def _describe_form(times: Times) -> Value:
    rule = times.rule
    name = _FORMAT_NAMES.get(rule.format)
    form: Value = format_pattern(rule.format) if name is None else Term(name)
    if rule.since is not None and rule.format in SECONDS_PER_UNIT:
        unit = Term(str(name).removesuffix(" since 1970"))
        form = _SINCE(unit=unit, at=f"{rule.since:%Y-%m-%d %H:%M}")
    calendar = _CALENDARS.get(rule.era or rule.clock)
    return form if calendar is None else join([form, Term(calendar)], ", ")


def format_pattern(form: str) -> str:
    """Write a pattern of times as people write it.

    >>> format_pattern("%d.%m.%Y %H:%M"), format_pattern("%b %d %Y %I:%M:%S %p")
    ('DD.MM.YYYY hh:mm', 'Mon DD YYYY hh:mm:ss AM/PM')
    """
    return re.sub("%(.)", lambda directive: _DIRECTIVES.get(directive[1], directive[0]), form)


# ---- order of day, month and year; clocks of digits ------------------------------------------------------------------


def _settle_clock(table: RawTable, times: Times, interview: Interview) -> Times:
    """Ask whether the digits beside one single date are hours, hhmm or hhmmss, if several fit."""
    clocks: dict[str, list[Times]] = {}
    for interpretation in times.interpretations:
        name = DIGIT_CLOCKS.get(interpretation.rule.format.rpartition(" ")[2])
        if name is not None:
            clocks.setdefault(name, []).append(interpretation)
    if len(clocks) < 2:
        return times
    column = times.rule.columns[-1]
    cells = table.list_cells(column)
    text = _WHICH_CLOCK(column=table.heading(column), first=str(cells[0]), last=str(cells[-1]))
    examples = show_instants(table, {name: interpretations[0].rule for name, interpretations in clocks.items()})
    answer = interview.request(CLOCK, text, tuple(clocks), examples=examples)
    return times if answer is None else _keep(clocks[answer])


def _settle_dates(table: RawTable, times: Times, interview: Interview) -> Times:
    """Ask whether day, month or year is first in a date, if the record fits several orders."""
    interpretations: dict[str, Times] = {}
    for interpretation in times.interpretations:
        interpretations.setdefault(_find_order(interpretation.rule.format), interpretation)
    if len(interpretations) < 2:
        return times
    orders = [order for order in (DAY_FIRST, MONTH_FIRST, YEAR_FIRST) if order in interpretations]
    template = _WHAT_FIRST if YEAR_FIRST in orders else _DAY_OR_MONTH
    text = template(at=min(times.parsed).strftime(times.rule.format))
    examples = show_instants(table, {order: interpretations[order].rule for order in orders})
    answer = interview.request(DATES, text, tuple(orders), examples=examples)
    return times if answer is None else interpretations[answer]


def _keep(interpretations: Sequence[Times]) -> Times:
    """Return the first interpretation with the others as its rivals."""
    best, *rivals = interpretations
    return replace(best, rivals=tuple(rivals))


def _request_order(table: RawTable, times: Times, interview: Interview) -> None:
    """Ask whether all dates have one order, if day and month of some seem to be exchanged."""
    if times.rivals:
        return
    example = find_exchanged(times)
    if example is not None:
        text = MIXED_ORDERS(column=table.heading(times.rule.columns[0]), value=example)
        order = _find_order(times.rule.format)
        interview.request(DATES, text, (order,), examples=show_instants(table, {order: times.rule}))


def _find_order(form: str) -> str:
    """Return which of day, month and year is first in a pattern."""
    places = {directive: form.find(f"%{directive}") for directive in "ymd"}
    if 0 <= places["y"] < places["d"]:
        return YEAR_FIRST
    return MONTH_FIRST if 0 <= places["m"] < places["d"] else DAY_FIRST


# ---- zone ------------------------------------------------------------------------------------------------------------


def _settle_zone(table: RawTable, times: Times, interview: Interview) -> Times:
    """Ask for the zone if neither the cells nor the file contain it, and which zone counts if two are given."""
    if times.has_zone or times.rule.format in {"year", *SECONDS_PER_UNIT} or times.rule.clock:
        return times
    zone_name = interview.answers.get(ZONE) or times.zone
    if zone_name is None:
        examples = show_instants(table, _set_zones(times, _EXAMPLE_ZONES))
        interview.questions.append(FileQuestion(ZONE, _WHICH_ZONE(), examples=examples))
        return times
    try:
        zone = ZoneInfo(zone_name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(_ODD_ZONE(answer=zone_name)) from None
    return replace(times, rule=replace(times.rule, zone=_choose_zone(table, times, zone, interview)))


def _choose_zone(table: RawTable, times: Times, zone: ZoneInfo, interview: Interview) -> ZoneInfo | None:
    """Return the zone of the times.

    While a question is open: None if the file names another zone than the answer, and the answered zone if only its
    summer time is in doubt.
    """
    if times.zone is not None and _differs(times.parsed, zone, ZoneInfo(times.zone)):
        choices = (times.zone, zone.key)
        text = _ZONE_CLASH(own=times.zone, answer=zone.key)
        answer = interview.request(CLASH, text, choices, examples=show_instants(table, _set_zones(times, choices)))
        return None if answer is None else ZoneInfo(answer)
    doubt = doubt_turning(times.parsed, zone)
    if doubt is None:
        return zone
    text, fixed = doubt
    choices = (fixed, zone.key)
    answer = interview.request(CLASH, text, choices, examples=show_instants(table, _set_zones(times, choices)))
    return zone if answer is None else ZoneInfo(answer)


def _set_zones(times: Times, names: Sequence[str]) -> dict[str, TimeRule]:
    return {name: replace(times.rule, zone=ZoneInfo(name)) for name in names}


def _differs(clocks: Sequence[datetime], one: ZoneInfo, other: ZoneInfo) -> bool:
    """Return whether a clock of the record is a different instant in two zones."""
    return any(at.replace(tzinfo=one).utcoffset() != at.replace(tzinfo=other).utcoffset() for at in clocks)
