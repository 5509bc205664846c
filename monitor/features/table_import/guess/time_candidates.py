"""Candidates for the meaning of a column of times: the forms that read its cells, ranked by the number of breaks."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import isfinite
from typing import Any, Final

from monitor.api.ingest import (
    DATENUM,
    EARLIEST_TIME,
    EXCEL,
    GPS,
    JD,
    MJD,
    SECONDS_PER_UNIT,
    TIME_COLUMN_NAME,
    WEEKDAY,
    YEAR,
    TimeRule,
    drop_weekday,
    find_era,
    find_time_count,
    is_gps,
    name_zone,
    normalise_time,
)
from monitor.api.readings import is_no_value
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.time_forms import (
    COUNTS_SINCE_1970,
    DATE_FORMS,
    DAY_NUMBER_SIZES,
    DIGIT_FORMS,
    MONTH_FORMS,
    TIMED_FORMS,
    YEAR_DAY,
    is_heading,
    parse_times,
)
from monitor.features.table_import.guess.time_zones import find_zone
from monitor.features.table_import.guess.times import Times, make_times

FITS: Final = 0.98  # share of the cells that a form must read
FITS_TIMED: Final = 0.8  # share of the times that have a clock if the others are midnights without one
STRAY_MOST: Final = 3  # cells of a short table that may be something else: a source, a mean below the last row
FIRST_CELLS: Final = 12  # after which most forms are excluded
TRIED_CELLS: Final = 500  # by which forms are chosen; the chosen ones must read nearly all cells
# A form is dropped if its record is this many times longer than the shortest one. A record of days that is read as
# months is 30 times longer.
_SPAN_MOST: Final = 50
_COUNT_UNITS: Final = ("d", "h", "min", "s", "ms", "us", "ns")
_SECOND_UNITS: Final = ("s", "ms", "us", "ns")
_POWER: Final = re.compile(r"\d[.,]?(\d*)[eE]\+?\d+")
_POWER_DIGITS_LEAST: Final = 7  # behind the mark; fewer leave hours of a count of milliseconds open
_ISO_BEGIN: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]")
_OFFSET_END: Final = re.compile(r":\d\d(?:[.,]\d+)?( ?)[+-]\d\d:?\d\d$")
_ZONE_END: Final = re.compile(r"(?<=\d) ?(UTC|GMT|Z|MEZ|CET)$")
_ALL_FORMS: Final = ("iso", *DATE_FORMS, *TIMED_FORMS, *MONTH_FORMS)
_NEXT_YEAR: Final = timedelta(days=366)


def read_column(table: RawTable, name: str, rule: TimeRule | None = None) -> Times | None:
    """Return the interpretations of a column as times; None if its cells are not times.

    Args:
        table: The table.
        name: The column.
        rule: What is known about the times; None: what the headings say.
    """
    cells = table.list_cells(name)
    if not cells:
        return None
    rule = _read_headings(table, name) if rule is None else replace(rule, columns=(name,))
    if isinstance(cells[0], datetime):
        return make_times(rule, [rule.read_naive(cell) for cell in cells if isinstance(cell, datetime)])
    texts = [str(cell) for cell in cells]
    if all(to_number(text) is not None for text in texts[:20]):
        return _read_numbers(table, rule, texts)
    texts = [normalise_time(text) for text in texts]
    without_weekday = [drop_weekday(text) for text in texts]
    if any(short == text for short, text in zip(without_weekday[:TRIED_CELLS], texts, strict=False)):
        return read_texts(rule, texts)
    times = read_texts(rule, without_weekday)
    if times is None:
        return None
    best, *rivals = (_add_weekday(interpretation) for interpretation in times.interpretations)
    return replace(best, rivals=tuple(rivals))


def _add_weekday(times: Times) -> Times:
    return replace(times, rule=replace(times.rule, format=WEEKDAY + times.rule.format))


def _read_headings(table: RawTable, name: str) -> TimeRule:
    """Return what the words beside a column say about its times, and a workbook about its day numbers."""
    heading = table.heading(name)
    texts = [heading, table.notes.get(name, "")]
    is_gps_time = any(map(is_gps, texts)) and (TIME_COLUMN_NAME.search(heading) or "gpst" in heading.lower())
    return TimeRule(
        (name,), since=table.day_zero, clock=GPS if is_gps_time else "", era=find_era((*texts, *table.above))
    )


# ---- texts -----------------------------------------------------------------------------------------------------------


def read_texts(rule: TimeRule, texts: Sequence[str]) -> Times | None:
    """Return the interpretations of dates with or without a clock, an offset or a zone; None if no form reads them."""
    rule = replace(rule, since=None)
    texts = _complete_midnights(texts)
    ending = _find_ending(texts)
    if ending is None:
        return choose_form(rule, texts, _ALL_FORMS)
    suffix, zone = ending
    times = choose_form(rule, texts, [f"{form}{suffix}" for form in TIMED_FORMS])
    return None if times is None else set_zone(times, zone)


def set_zone(times: Times, zone: str | None) -> Times:
    """Return the interpretations with the zone that the file names."""
    return replace(times, zone=zone, rivals=tuple(replace(rival, zone=zone) for rival in times.rivals))


def _complete_midnights(texts: Sequence[str]) -> Sequence[str]:
    """Add the clock of midnights where most texts have a clock: some programs omit it."""
    timed = [text for text in texts if ":" in text]
    if not len(texts) > len(timed) >= FITS_TIMED * len(texts) or _ISO_BEGIN.match(timed[0]):
        return texts
    midnight = " 00:00:00" if timed[0].count(":") > 1 else " 00:00"
    return [text if ":" in text else text + midnight for text in texts]


def _find_ending(texts: Sequence[str]) -> tuple[str, str | None] | None:
    """Return how a pattern ends if all texts end in an offset or a zone, and that zone; None if they do not."""
    first_texts = texts[:TRIED_CELLS]
    offset = _OFFSET_END.search(texts[0])
    are_iso = all(map(_ISO_BEGIN.match, first_texts))
    if offset is not None and all(map(_OFFSET_END.search, first_texts)) and not are_iso:
        return (" %z" if offset[1] else "%z"), None
    zones = {name_zone(text) for text in texts}
    zone = _ZONE_END.search(texts[0])
    if "" not in zones and (len(zones) > 1 or zone is None):  # summer and winter time, row by row
        has_blank = texts[0].removesuffix(name_zone(texts[0])).endswith(" ")
        return (" %z" if has_blank else "%z"), None
    if zone is None or not all(text.endswith(zone[0]) for text in first_texts):
        return None
    if zone[0] == "Z" and are_iso:
        return None
    return zone[0], find_zone(["UTC" if zone[1] == "Z" else zone[1]])


def choose_form(rule: TimeRule, texts: Sequence[str], forms: Iterable[str]) -> Times | None:
    """Return the interpretation with the fewest breaks, with each rival that it does not clearly lead.

    A form is a candidate if it reads nearly all cells, and no other form reads more.
    """
    sample = texts[:: max(1, len(texts) // TRIED_CELLS)]
    first = sample[:: max(1, len(sample) // FIRST_CELLS)]
    candidates: list[Times] = []
    for form in forms:
        if 2 * len(parse_times(first, form, rule)) < len(first) or not _is_most(
            parse_times(sample, form, rule), sample
        ):
            continue
        parsed = parse_times(texts, form, rule)
        if _is_most(parsed, texts):
            candidates.append(make_times(replace(rule, format=form), parsed))
    most = max((len(candidate.parsed) for candidate in candidates), default=0)
    return rank([candidate for candidate in candidates if len(candidate.parsed) == most])


def rank(candidates: Sequence[Times]) -> Times | None:
    """Return the candidate with the fewest breaks; its rivals are those that it does not clearly lead."""
    if not candidates:
        return None
    ordered = sorted(candidates, key=lambda candidate: candidate.breaks)
    close = [candidate for candidate in ordered if not ordered[0].clearly_leads(candidate)]
    # A form that reads the day as the year spreads a record over decades, because the days differ from row to row.
    shortest = min(map(_measure_span, close))
    best, *others = [candidate for candidate in close if _measure_span(candidate) <= _SPAN_MOST * shortest]
    rivals: list[Times] = []
    for other in others:
        if all(other.parsed != interpretation.parsed for interpretation in (best, *rivals)):
            rivals.append(other)
    return replace(best, rivals=tuple(rivals))


def _measure_span(times: Times) -> timedelta:
    clocks = [at.replace(tzinfo=None) for at in times.parsed]
    return max(clocks) - min(clocks)


def _is_most(parsed: Sequence[datetime], texts: Sequence[str]) -> bool:
    """Return whether a form reads nearly all cells."""
    return len(parsed) >= min(FITS * len(texts), max(len(texts) - STRAY_MOST, 0.8 * len(texts)))


def find_mixed_forms(cells: Sequence[Any]) -> tuple[int, int] | None:
    """Return a row of each of the two forms that a column of times mixes; None if it does not mix two forms.

    Two forms are mixed if one reads many cells, the other one reads nearly all others, and neither reads all.
    """
    texts = [drop_weekday(normalise_time("" if cell is None else str(cell))) for cell in cells[:TRIED_CELLS]]
    filled = [row for row, text in enumerate(texts) if not is_no_value(text)]
    first_rows: list[int] = []
    unread = filled
    for _ in range(2):
        read = max((_list_read_rows(texts, unread, form) for form in _ALL_FORMS), key=len)
        if not read:
            return None
        first_rows.append(read[0])
        unread = [row for row in unread if row not in set(read)]
    is_mixed = len(unread) <= (1 - FITS) * len(filled)
    return (min(first_rows), max(first_rows)) if is_mixed else None


def _list_read_rows(texts: Sequence[str], rows: Sequence[int], form: str) -> list[int]:
    """Return the rows whose cell a form reads."""
    return [row for row in rows if parse_times([texts[row]], form)]


# ---- numbers ---------------------------------------------------------------------------------------------------------


def _read_numbers(table: RawTable, rule: TimeRule, texts: Sequence[str]) -> Times | None:
    """Return the interpretations of numbers that rise: decimal years, counts, day numbers, digits of a date."""
    numbers = [number for text in texts if (number := to_number(text)) is not None]
    steps_back = sum(after < before for before, after in pairwise(numbers))
    if len(numbers) < FITS * len(texts) or steps_back > 0.02 * len(numbers) or _lacks_digits(texts):
        return None
    if rule.format in {*SECONDS_PER_UNIT, EXCEL, MJD, YEAR_DAY}:  # an answer of a person
        return choose_form(rule, texts, [rule.format])
    counted = _read_counts(table, rule, texts)
    if counted is not None:
        return counted
    forms = _list_number_forms(table.heading(rule.column), numbers, texts)
    since = rule.since if forms == [EXCEL] else None
    return choose_form(replace(rule, since=since, clock=""), texts, forms)


def _lacks_digits(texts: Sequence[str]) -> bool:
    """Return whether a spreadsheet wrote counts as 1.76822E+12: hours of such a count of milliseconds are lost."""
    powers = [power for text in texts if (power := _POWER.fullmatch(text))]
    return bool(powers) and max(len(power[1]) for power in powers) < _POWER_DIGITS_LEAST


def _list_number_forms(heading: str, numbers: Sequence[float], texts: Sequence[str]) -> list[str]:
    """Return the forms that numbers may have by their size, their digits and the name of their column."""
    if is_heading(heading, "modified_julian_day"):
        return [MJD]
    if is_heading(heading, "matlab_day"):
        return [DATENUM]
    if is_heading(heading, "julian_day") and min(numbers) > 1e6:
        return [JD]
    is_named = TIME_COLUMN_NAME.search(heading) is not None
    is_year_and_day = is_heading(heading, "year_and_day")
    low = min(numbers)
    high = max(numbers)
    are_whole = all(number == int(number) for number in numbers)
    forms = [YEAR] if low >= 1900 and high <= 2100 and not are_whole else []
    forms += [unit for unit, least, most in COUNTS_SINCE_1970 if least <= low and high <= most]
    # Digits that are a day of the calendar in every row count nothing: most numbers are not such a day.
    if are_whole and all(map(str.isdigit, texts[:50])) and (is_named or is_year_and_day or len(texts[0]) > 7):
        forms = _list_digit_forms(texts) or forms
        if is_year_and_day and forms == [YEAR_DAY]:
            return forms
    if is_named:
        forms += [form for form, least, most in DAY_NUMBER_SIZES if least <= low and high <= most]
    return [*forms, EXCEL] if low >= 20_000 and high <= 80_000 and is_named else forms


def _list_digit_forms(texts: Sequence[str]) -> list[str]:
    """Return the forms by which nearly all texts of digits are days of the calendar."""
    times = {form: parse_times(texts, form) for form in DIGIT_FORMS.get(len(texts[0]), ())}
    fitting = [form for form, at in times.items() if len(at) >= FITS * len(texts) and min(at).year >= 1950]
    latest = datetime.now(UTC).replace(tzinfo=None) + _NEXT_YEAR
    # Five digits are mostly day numbers. Years of two digits in the future show that they are.
    return [form for form in fitting if form != YEAR_DAY or max(times[form]) <= latest]


def _read_counts(table: RawTable, rule: TimeRule, texts: Sequence[str]) -> Times | None:
    """Return the interpretations of numbers whose headings name an origin: `s since 2000-01-01`, `gps_seconds`.

    If the headings name no unit, each unit with plausible times is a candidate.
    """
    heading = table.heading(rule.column)
    count = find_time_count(heading) or find_time_count(table.notes.get(rule.column, ""))
    if count is None:
        return None
    is_time = TIME_COLUMN_NAME.search(heading) or count.unit in _SECOND_UNITS or "since" in heading.lower()
    if not is_time:  # the number of satellites, or a height above a datum that is named after a year
        return None
    rule = replace(rule, since=count.since, clock=count.clock, era="")
    units = [count.unit] if count.unit else _COUNT_UNITS
    candidates = [times for unit in units if (times := choose_form(rule, texts, [unit])) is not None]
    plausible = [times for times in candidates if _is_plausible(times, count.since)]
    if plausible:
        best, *rivals = plausible
        return replace(best, rivals=tuple(rivals))
    return candidates[0] if count.unit and candidates else None


def _is_plausible(times: Times, since: datetime) -> bool:
    """Return whether counted times are between 1950 and the next year, and not all within a month of an old origin."""
    clocks = [at.replace(tzinfo=UTC) for at in times.parsed]
    now = datetime.now(UTC)
    if min(clocks) < EARLIEST_TIME or max(clocks) > now + _NEXT_YEAR:
        return False
    is_old_origin = now - since > 10 * _NEXT_YEAR
    return not (is_old_origin and max(clocks) - since < timedelta(days=31))


def to_number(text: str) -> float | None:
    """Parse a finite number; None if the text is none. A comma is a decimal mark, and underscores are refused."""
    try:
        number = float(text.replace(",", ".").replace("_", "x"))
    except ValueError:
        return None
    return number if isfinite(number) else None
