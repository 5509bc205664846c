"""Which columns of a table contain the time."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NamedTuple

from monitor.api.errors import ConfigError
from monitor.api.ingest import BUDDHIST, SECONDS_PER_UNIT, TIME_COLUMN_NAME, YEAR, TimeRule, is_time
from monitor.api.text import LABELLED_TEXT, Message, NameList, Template
from monitor.features.table_import.guess.clock_columns import (
    join_clock,
    join_half_day,
    join_parts_of_time,
    join_zone,
    require_clock,
)
from monitor.features.table_import.guess.questions import LEAVE_OUT, Interview
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.time_candidates import find_mixed_forms, read_column, set_zone, to_number
from monitor.features.table_import.guess.time_examples import show_instants
from monitor.features.table_import.guess.time_forms import find_shape, has_word, is_heading, is_workbook_date
from monitor.features.table_import.guess.time_ranges import contains_ranges
from monitor.features.table_import.guess.time_zones import find_zone
from monitor.features.table_import.guess.times import Times, are_days

TIME_COLUMN: Final = "time column"
_UNKNOWN_FORM: Final = Template(
    "guess.times.form",
    "no column holds a time that can be read; the cells of '{column}' are like '{value}', which is no form of a time "
    "known here: write dates such as 2026-03-01 08:30, and import the file again",
)
_MIXED_FORMS: Final = Template(
    "guess.times.mixed_forms",
    "column '{column}' mixes two forms of a time, such as '{first}' in row {first_row} and '{second}' in row "
    "{second_row} of the data: write all times in one form, such as 2026-03-01 08:30, and import the file again",
)
_NO_TIME: Final = Template(
    "guess.times.none",
    "no column holds a time that can be read; the columns are: {names}. Write dates such as 2026-03-01 08:30, and "
    "import the file again",
)
_OWN_TIMES: Final = Template(
    "guess.times.own",
    "the columns behind '{column}' have times of their own: cut the table there, and read each part alone",
)
_FROM_TO: Final = Template(
    "guess.times.from_to",
    "the cells of '{column}' hold a beginning and an end, such as '{value}': write both in columns of their own, named "
    "'from' and 'to', and import the file again",
)
_WHICH_COLUMN: Final = Template(
    "guess.ask.time_column", "these columns contain different times: {names}. Which one is the time of the readings?"
)
_ARE_COUNTS: Final = Template(
    "guess.ask.time_column.counts",
    "no column is named after a time; the numbers of '{column}' may be seconds since 1970: are they the time of the "
    "readings?",
)
_BRACKETED: Final = re.compile(r"[(\[][^)\]]*[)\]]?")
_QUARTER_HOUR: Final = timedelta(minutes=15)
_OFFSET_MOST: Final = timedelta(hours=14)
_FITS: Final = 0.98  # share of the rows whose times differ by an offset
_FILLED_LEAST: Final = 0.9  # share of the cells of the fullest column of times


def find_times(table: RawTable, interview: Interview) -> Times | None:
    """Return the interpretations of the time of a table; None if no column contains one.

    Raises:
        ConfigError: The times are written in a form that is refused with its remedy, or an answer is not a choice.
    """
    candidates = _list_candidates(table)
    if not candidates:
        joined = join_parts_of_time(table)
        return None if joined is None else require_clock(table, joined)
    chosen = _prefer_end(table, _choose_column(table, candidates), candidates)
    _refuse_own_times(table, chosen, candidates)
    chosen = _request_column(table, chosen, candidates, interview)
    repeats = tuple(times.rule.column for times in candidates if times is not chosen and _is_same_record(times, chosen))
    if are_days(chosen):
        joined = require_clock(table, join_clock(table, chosen) or chosen)
        chosen = join_half_day(table, joined)
    chosen = replace(join_zone(table, chosen), repeats=repeats)
    if chosen.zone:
        return chosen
    # the zone in the name of another column of times is the zone of that column
    others = [name for name in table.keys if name not in {candidate.rule.column for candidate in candidates}]
    texts = (*map(table.heading, chosen.rule.columns), *table.above, *map(table.heading, others))
    return set_zone(chosen, find_zone(texts))


def reread(table: RawTable, times: Times, **changes: Any) -> Times | None:
    """Read the same columns again with changes of their rule, such as another era; return None if they do not fit."""
    rule = replace(times.rule, zone=None, **changes)
    found = read_column(table, rule.columns[0], rule)
    if found is not None and len(rule.columns) > 1:
        found = join_clock(table, found)
    return None if found is None else set_zone(found, times.zone)


# ---- the column ------------------------------------------------------------------------------------------------------


def _list_candidates(table: RawTable) -> list[Times]:
    """Return the columns that can be read as times.

    If there is none, dates of the Buddhist era are tried, whose leap days the common calendar does not have.
    """
    ranges = [name for name in table.keys if contains_ranges(table, name)]
    candidates = [
        times for name in table.keys if name not in ranges and (times := read_column(table, name)) is not None
    ]
    if ranges and all(map(are_days, candidates)):
        value = str(table.list_cells(ranges[0])[0])[:60]
        raise _refuse(table, _FROM_TO(column=table.heading(ranges[0]), value=value))
    if candidates:
        return candidates
    buddhist = (read_column(table, name, TimeRule((name,), era=BUDDHIST)) for name in table.keys)
    return [
        times for times in buddhist if times is not None and (times.rule.format == "iso" or "%" in times.rule.format)
    ]


def _choose_column(table: RawTable, candidates: Sequence[Times]) -> Times:
    """Return the column with the best score; the first one if several have it."""
    most = max(len(times.parsed) for times in candidates)
    return max(candidates, key=lambda times: _score_column(table, times, most))


class _ColumnScore(NamedTuple):
    """Score of a column, most important first."""

    is_filled: bool
    changes: bool  # False for a constant, such as the day on which an instrument was installed
    is_reading: bool  # it is not named after the reception or the export of a reading
    is_named: bool  # it is named after a time
    has_clock: bool
    has_zone: bool

    @property
    def kind(self) -> tuple[bool, ...]:
        """The part of the score by which a column clearly leads another one."""
        return self[:4]


def _score_column(table: RawTable, times: Times, most: int) -> _ColumnScore:
    heading = table.heading(times.rule.column)
    return _ColumnScore(
        is_filled=len(times.parsed) >= _FILLED_LEAST * most,
        changes=len(set(times.parsed)) > 1,
        is_reading=not is_heading(heading, "reception"),
        is_named=_is_named(table, times.rule.column),
        has_clock=not are_days(times),
        has_zone=find_zone([heading]) is not None,
    )


def _request_column(table: RawTable, chosen: Times, candidates: Sequence[Times], interview: Interview) -> Times:
    """Ask which column contains the time of the readings, if other columns may as well be it.

    Raises:
        ConfigError: The answer is not a choice, or no column contains the time.
    """
    most = max(len(times.parsed) for times in candidates)
    score = _score_column(table, chosen, most)
    rivals = [
        times
        for times in candidates
        if times is not chosen
        and _score_column(table, times, most).kind == score.kind
        and not _is_same_record(times, chosen)
        and not _is_begin_of(table, times, chosen)
    ]
    heading = table.heading(chosen.rule.column)
    is_bare_count = chosen.rule.format in SECONDS_PER_UNIT and chosen.rule.since is None
    if not rivals and (score.is_named or not is_bare_count or not table.layout.header):
        return chosen
    choices = {heading: chosen} | {table.heading(times.rule.column): times for times in rivals}
    text = _WHICH_COLUMN(names=NameList(tuple(choices))) if rivals else _ARE_COUNTS(column=heading)
    examples = show_instants(table, {name: times.rule for name, times in choices.items()})
    more = () if rivals else (LEAVE_OUT,)
    answer = interview.request(TIME_COLUMN, text, (*choices, *more), examples=examples)
    if answer == LEAVE_OUT:
        raise _refuse(table, describe_untimed(table))
    return chosen if answer is None else choices[answer]


def _is_same_record(times: Times, other: Times) -> bool:
    """Return whether two columns contain the same times: in two zones, one without its clock, or one rounded."""
    if len(times.parsed) != len(other.parsed):
        return False
    clocks = [at.replace(tzinfo=None) for at in times.parsed]
    other_clocks = [at.replace(tzinfo=None) for at in other.parsed]
    if are_days(times) or are_days(other) or YEAR in {times.rule.format, other.rule.format}:
        return all(abs(a - b) < timedelta(days=1) for a, b in zip(clocks, other_clocks, strict=True))
    differences = Counter(a - b for a, b in zip(clocks, other_clocks, strict=True))
    offsets = differences.most_common(2)  # of winter and summer time
    are_offsets = all(not difference % _QUARTER_HOUR and abs(difference) <= _OFFSET_MOST for difference, _ in offsets)
    return are_offsets and sum(count for _, count in offsets) >= _FITS * len(clocks)


def _is_begin_of(table: RawTable, times: Times, end: Times) -> bool:
    """Return whether a column contains the start of the intervals whose end another column contains."""
    return has_word(table.heading(times.rule.column), "begin") and has_word(table.heading(end.rule.column), "end")


def _prefer_end(table: RawTable, chosen: Times, candidates: Sequence[Times]) -> Times:
    """Return the end of each interval if the table contains begin and end: a sum counts at the end of its interval."""
    if not has_word(table.heading(chosen.rule.column), "begin"):
        return chosen
    ends = [
        times
        for times in candidates
        if times is not chosen
        and has_word(table.heading(times.rule.column), "end")
        and len(times.parsed) == len(chosen.parsed)
        and times.has_zone == chosen.has_zone
        and all(begin < end for begin, end in zip(chosen.parsed, times.parsed, strict=True))
    ]
    return ends[0] if len(ends) == 1 else chosen


def _refuse_own_times(table: RawTable, chosen: Times, candidates: Sequence[Times]) -> None:
    """Raise ConfigError if columns of values have times of their own beside them, named like the first times."""
    first = table.keys.index(chosen.rule.column)
    chosen_name = _strip_number(table.heading(chosen.rule.column))
    for times in candidates:
        column = times.rule.column
        between = table.keys[first + 1 : table.keys.index(column)]
        has_values = any(to_number(str(cell)) for name in between for cell in table.columns[name][:1])
        is_alike = _strip_number(table.heading(column)) == chosen_name
        if is_alike and has_values and times.parsed != chosen.parsed:
            raise _refuse(table, _OWN_TIMES(column=table.heading(column)))


def _strip_number(heading: str) -> str:
    """Return a name without the number, the letter or the brackets that distinguish it from others of its kind."""
    return re.sub(r"(?:[\W_]+\w{0,2}|\d+)$", "", _BRACKETED.sub("", heading).strip()).casefold()


# ---- tables without times --------------------------------------------------------------------------------------------


def describe_untimed(table: RawTable) -> Message:
    """Return the message for a table without times, with a cell of the column that is named after a time."""
    for name in table.keys:
        cells = [str(cell) for cell in table.list_cells(name)]
        if not cells or not _is_named(table, name):
            continue
        mixed_rows = find_mixed_forms(table.columns[name])
        if mixed_rows is None:
            return _UNKNOWN_FORM(column=table.heading(name), value=_find_odd_cell(cells)[:40])
        first, second = (str(table.columns[name][row])[:40] for row in mixed_rows)
        return _MIXED_FORMS(
            column=table.heading(name),
            first=first,
            first_row=mixed_rows[0] + 1,
            second=second,
            second_row=mixed_rows[1] + 1,
        )
    return _NO_TIME(names=NameList(tuple(map(table.heading, table.keys))))


def _find_odd_cell(cells: Sequence[str]) -> str:
    """Return a cell that is not a time; else the cell with the rarest shape.

    In a workbook that is a date among texts, where a spreadsheet may have exchanged day and month.
    """
    odd = next((cell for cell in cells if not is_time(cell)), "")
    odd = odd or next((cell for cell in cells if not is_workbook_date(cell)), "")
    shapes = Counter(map(find_shape, cells))
    if odd and find_shape(odd) != shapes.most_common(1)[0][0]:
        return odd
    return min(cells, key=lambda cell: shapes[find_shape(cell)])


def _is_named(table: RawTable, column: str) -> bool:
    return TIME_COLUMN_NAME.search(table.heading(column)) is not None


def _refuse(table: RawTable, text: Message) -> ConfigError:
    return ConfigError(LABELLED_TEXT(name=str(table.path), text=text))
