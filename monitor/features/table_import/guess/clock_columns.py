"""Columns beside a date that belong to its time: a clock, the half of a day, a zone, or each part on its own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time
from itertools import pairwise
from typing import Final

from monitor.api.errors import ConfigError, PayloadError
from monitor.api.ingest import YEAR_DAY_HHMM, TimeRule, join_parts, normalise_time
from monitor.api.text import LABELLED_TEXT, Template
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.time_candidates import FITS, choose_form, read_texts, to_number
from monitor.features.table_import.guess.time_forms import (
    CLOCK_FORMS,
    DIGIT_CLOCKS,
    NUMERIC_CLOCK_FORMS,
    has_word,
    is_clock_heading,
    is_heading,
    join_cells,
)
from monitor.features.table_import.guess.time_zones import is_zone_cell
from monitor.features.table_import.guess.times import Times, are_days, make_times, measure_disorder

_ODD_CLOCK: Final = Template(
    "guess.times.clock",
    "column '{column}' looks like a clock, and cannot be read as one: write hours and minutes such as 8:30, and import "
    "the file again",
)
_LEFT_BLANK: Final = Template(
    "guess.times.left_blank",
    "'{column}' has a date in some rows alone, and the clock of '{clock}' in all: write the date in every row, and "
    "import the file again",
)
_PARTS: Final = ("%Y", "%m", "%d", "%H", "%M", "%S")
_DAY_OF_YEAR_PARTS: Final = ("%Y", "%j", "%H", "%M", "%S")
_HOURS_MOST: Final = 24  # an hhmm above is not a number of hours
_ZONES_MOST: Final = 4  # of one column: winter and summer time of two countries
_MIDNIGHT_FORM: Final = re.compile(r"[T ]%H:%M(?::%S)?(?:\.%f)?$")
_CLOCK_CELL: Final = re.compile(r"\d{1,2} ?[:hH] ?\d{2}(?!\d)")


# ---- a date and a clock ----------------------------------------------------------------------------------------------


def join_clock(table: RawTable, day: Times) -> Times | None:
    """Return the interpretations of a date together with the first column that is its clock; None if there is none."""
    date = day.rule.columns[0]
    forms = {
        "%Y-%m-%d" if interpretation.rule.format == "iso" else interpretation.rule.format
        for interpretation in day.interpretations
    }
    found: list[Times] = []
    days = sorted(form for form in {_MIDNIGHT_FORM.sub("", form) for form in forms} if "%H" not in form)
    for name in table.keys:
        cells = [str(cell) for cell in table.list_cells(name)]
        if name == date or len(cells) < FITS * len(day.parsed):
            continue
        first_cells = cells[:50]
        is_numeric = sum(to_number(cell) is not None for cell in first_cells) >= FITS * len(first_cells)
        clocks = _list_numeric_clocks(table.heading(name), cells) if is_numeric else CLOCK_FORMS
        if not clocks:
            continue
        texts = [
            normalise_time(join_parts((date_cell, clock_cell)))
            for date_cell, clock_cell in zip(table.columns[date], table.columns[name], strict=True)
            if date_cell is not None and clock_cell is not None
        ]
        rule = replace(day.rule, columns=(date, name))
        if is_numeric and len(set(day.parsed)) == 1:
            joined = _choose_on_one_day(rule, texts, days, _list_one_day_clocks(table.heading(name), cells, clocks))
        else:
            joined = choose_form(rule, texts, [f"{form} {clock}" for form in days for clock in clocks])
        # a number that never changes is a clock only if its column is named after one: 9.00 on each morning
        if joined is not None and (not is_numeric or is_clock_heading(table.heading(name)) or _changes(joined)):
            found.append(joined)
    return _prefer_end(table, found)


def _prefer_end(table: RawTable, found: Sequence[Times]) -> Times | None:
    """Return the first clock; the end of each interval, if it is the begin: a sum counts at the end of its interval."""
    if not found:
        return None
    first, *others = found
    if not has_word(table.heading(first.rule.columns[1]), "begin"):
        return first
    ends = [
        times
        for times in others
        if has_word(table.heading(times.rule.columns[1]), "end")
        and len(times.parsed) == len(first.parsed)
        and all(begin < end for begin, end in zip(first.parsed, times.parsed, strict=True))
    ]
    return ends[0] if len(ends) == 1 else first


def _changes(times: Times) -> bool:
    """Return whether the time of the day changes."""
    return len({at.time() for at in times.parsed}) > 1


def _list_numeric_clocks(heading: str, cells: Sequence[str]) -> tuple[str, ...]:
    """Return the forms that numbers beside a date may have as a clock; none if the column is not named after one."""
    if not has_word(heading, "clock") and not has_word(heading, "hour"):
        return ()
    if all(cell.isdigit() and len(cell) <= len("hh") and int(cell) <= _HOURS_MOST for cell in cells):
        return ("%H",) if has_word(heading, "hour") else ("%H", "%H%M")
    # 13.50 in a column of hours is half past one
    return NUMERIC_CLOCK_FORMS[1:] if has_word(heading, "decimal_hours") else NUMERIC_CLOCK_FORMS


def _list_one_day_clocks(heading: str, cells: Sequence[str], clocks: Sequence[str]) -> list[str]:
    """Return the clocks that the digits beside one single date may be.

    Several dates distinguish hhmm from hhmmss, because the nights must fit. On one date 0, 10, ... 50, 100 fits both.
    Leading zeros or the name of the column decide, else a person.
    """
    if not all(cell.isdigit() for cell in cells):
        return list(clocks)
    named = [form for form, name in DIGIT_CLOCKS.items() if name in heading.casefold()]
    longest = max(len(cell) for cell in cells)
    if longest > len("hhmm") or "%H%M%S" in named:
        return ["%H%M%S"]
    has_leading_zero = longest > len("hh") and any(cell.startswith("0") and len(cell) > 1 for cell in cells)
    if "%H%M" in named or has_leading_zero:
        return ["%H%M"]
    if max(int(cell) for cell in cells) > _HOURS_MOST:
        return ["%H%M", "%H%M%S"]
    steps = {int(after) - int(before) for before, after in pairwise(cells)}
    is_whole_day = steps == {1} and int(cells[-1]) >= _HOURS_MOST - 1
    return ["%H"] if has_word(heading, "hour") or is_whole_day or len(cells) == 1 else ["%H", "%H%M"]


def _choose_on_one_day(how: TimeRule, texts: Sequence[str], days: Sequence[str], clocks: Sequence[str]) -> Times | None:
    """Return the interpretations of a date and a clock of digits; clocks with as few steps back are rivals."""
    chosen = [times for clock in clocks if (times := choose_form(how, texts, [f"{day} {clock}" for day in days]))]
    if not chosen:
        return None
    fewest_back = min(measure_disorder(times.parsed)[0] for times in chosen)
    best, *others = [times for times in chosen if measure_disorder(times.parsed)[0] == fewest_back]
    rivals = [interpretation for other in others for interpretation in other.interpretations]
    return replace(best, rivals=(*best.rivals, *rivals))


def join_half_day(table: RawTable, times: Times) -> Times:
    """Return the interpretations of a date and a clock together with a column of AM and PM, if there is one."""
    if len(times.rule.columns) != 2 or "%H:" not in times.rule.format:
        return times
    for name in table.keys:
        cells = [str(cell) for cell in table.columns[name]]
        if cells and all(cell.upper() in {"AM", "PM"} for cell in cells):
            rule = replace(times.rule, columns=(*times.rule.columns, name))
            forms = [f"{interpretation.rule.format.replace('%H', '%I')} %p" for interpretation in times.interpretations]
            return choose_form(rule, _list_texts(table, rule), forms) or times
    return times


def join_zone(table: RawTable, times: Times) -> Times:
    """Return the interpretations together with a column that names the zone of each row, if they lack a zone."""
    if times.has_zone or times.zone or are_days(times):
        return times
    for name in table.keys:
        texts = {str(cell).strip() for cell in table.columns[name]}
        is_zone_column = has_word(table.heading(name), "zone")
        if len(texts) > _ZONES_MOST or not all(is_zone_cell(text, is_zone_column=is_zone_column) for text in texts):
            continue
        rule = replace(times.rule, columns=(*times.rule.columns, name))
        zoned = read_texts(rule, _list_texts(table, rule))
        if zoned is not None and (zoned.has_zone or zoned.zone) and len(zoned.parsed) == len(times.parsed):
            return zoned
    return times


def _list_texts(table: RawTable, rule: TimeRule) -> list[str]:
    return [normalise_time(text) for text in join_cells([table.columns[name] for name in rule.columns])]


def require_clock(table: RawTable, times: Times) -> Times:
    """Return the times.

    Raises:
        ConfigError: They are dates, and the clock beside them cannot be read, so all readings of a day would have one
            time.
    """
    clock = _find_clock(table, times) if are_days(times) else None
    if clock is None:
        return times
    if len(times.parsed) < FITS * len(table.list_cells(clock)):
        text = _LEFT_BLANK(column=table.heading(times.rule.columns[0]), clock=table.heading(clock))
    else:
        text = _ODD_CLOCK(column=table.heading(clock))
    raise ConfigError(LABELLED_TEXT(name=str(table.path), text=text))


def _find_clock(table: RawTable, day: Times) -> str | None:
    """Return a column of clocks that could not be read together with the dates; None if there is none."""
    for name in table.keys:
        cells = [str(cell) for cell in table.list_cells(name)]
        if name in day.rule.columns or not cells:
            continue
        is_clock = is_clock_heading(table.heading(name)) and len(set(cells)) > 1
        if is_clock or sum(bool(_CLOCK_CELL.match(cell)) for cell in cells) >= 0.8 * len(cells):
            return name
    return None


# ---- each part in a column of its own --------------------------------------------------------------------------------


def join_parts_of_time(table: RawTable) -> Times | None:
    """Return the interpretation of year, month, day and clock in a column each; None if there are no such columns.

    Loggers also write the year, the day of the year and hhmm.
    """
    numbers = {name: _read_whole(table, name) for name in table.keys}
    for place, year in enumerate(table.keys):
        years = numbers[year]
        if not years or not all(1950 <= number <= 2100 for number in years) or years != sorted(years):
            continue
        ahead = _list_parts(table, place, numbers)
        times = _join_named_parts(table, year, ahead, numbers) or _join_day_and_hhmm(table, year, ahead)
        if times is not None:
            return times
    return None


def _join_named_parts(
    table: RawTable, year: str, ahead: Sequence[str], numbers: Mapping[str, Sequence[int]]
) -> Times | None:
    """Return the interpretation with the most parts that runs forward."""
    parts = _DAY_OF_YEAR_PARTS if ahead and is_heading(table.heading(ahead[0]), "day_of_year") else _PARTS
    for count in range(min(len(ahead), len(parts) - 1), 1, -1):
        columns = (year, *ahead[:count])
        if parts is _DAY_OF_YEAR_PARTS and count == 2 and max(numbers[ahead[1]]) > _HOURS_MOST:
            return None  # 1230 is not an hour
        form = " ".join(parts[: count + 1])
        if not numbers[ahead[count - 1]]:
            form = f"{form}.%f"
        times = choose_form(TimeRule(columns), join_cells([table.columns[name] for name in columns]), [form])
        if times is not None and _runs_forward(times.parsed):
            return times
    return None


def _join_day_and_hhmm(table: RawTable, year: str, ahead: Sequence[str]) -> Times | None:
    """Return the interpretation of year, day of the year and hhmm."""
    if len(ahead) < 2:
        return None
    rule = TimeRule((year, *ahead[:2]), YEAR_DAY_HHMM)
    parsed = []
    for row in zip(*(table.columns[name] for name in rule.columns), strict=True):
        try:
            parsed.append(rule.read_parts([str(cell).strip() for cell in row]))
        except PayloadError:
            continue
    if not parsed or len(parsed) < FITS * table.rows or not _runs_forward(parsed):
        return None
    return make_times(rule, parsed)


def _list_parts(table: RawTable, place: int, numbers: Mapping[str, Sequence[int]]) -> list[str]:
    """Return the columns behind the year that may be parts of the time: whole numbers, or seconds with a fraction."""
    rows = len(numbers[table.keys[place]])
    parts: list[str] = []
    for name in table.keys[place + 1 : place + 6]:
        heading = table.heading(name)
        is_whole = is_heading(heading, "seconds") or len(numbers[name]) == rows
        # behind a date, a small number is a measurement unless its column is named after a part of a clock
        is_clock_part = heading.isdigit() or is_heading(heading, "clock_part")
        if not is_whole or (len(parts) > 1 and not is_clock_part):
            break
        parts.append(name)
    return parts


def _read_whole(table: RawTable, name: str) -> list[int]:
    try:
        return [int(str(cell)) for cell in table.columns[name]]
    except ValueError:
        return []


def _runs_forward(times: Sequence[datetime]) -> bool:
    """Return whether times run forward.

    A midnight behind the other rows of its day is refused later, with its reason.
    """
    back = sum(after < before and after != datetime.combine(before, time()) for before, after in pairwise(times))
    return back <= 0.02 * len(times)
