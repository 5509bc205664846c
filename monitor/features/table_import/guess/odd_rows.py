"""Rows that are no readings of the instrument of the table: flagged as bad, sums of a day, or of another instrument."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, time
from itertools import groupby, pairwise
from typing import Final

from monitor.api.errors import ConfigError, PayloadError
from monitor.api.readings import is_marked_bad
from monitor.api.text import LABELLED_TEXT, Figure, NameList, Template
from monitor.features.table_import.guess.calendar import AS_THEY_ARE
from monitor.features.table_import.guess.names import is_serial, is_station_column
from monitor.features.table_import.guess.numerals import is_empty
from monitor.features.table_import.guess.questions import Interview, name_own
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.times import Times
from monitor.features.table_import.guess.words import load_words

FLAG: Final = "flag"
PART: Final = "part"
FACTOR: Final = "factor"
EVERY_ROW: Final = "every row"
NO_LABEL: Final = "no label"
ONE_INSTRUMENT: Final = "one instrument"
LABELS_MOST: Final = 8
# Quality codes of OPC: 192 is good, and a code below 64 is bad.
_GOOD_CODE: Final = "192"
_BAD_CODES: Final = 64
# The column Q of RTKLIB: 1 is a fixed solution, and 5 is a single position, which is wrong by metres.
_SOLUTIONS: Final = frozenset("123456")
_WHICH_ROWS: Final = Template(
    "guess.ask.flag", "column '{column}' says of rows: {labels}. Which of these labels have the readings that count?"
)
_ROWS_WITH: Final = Template("guess.ask.flag.rows", "{n} rows are stored")
_FACTOR: Final = re.compile(r"[\s:=]*([-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)(?![\w.])")
_SCALED: Final = Template(
    "guess.ask.factor", "beside the names stands '{text}': are the values of the table scaled already?"
)
_SUMS: Final = Template(
    "guess.sums", "{n} rows have the midnight of their day once more, as sums of days have: take them out"
)
_MIDNIGHTS: Final = Template(
    "guess.midnights",
    "{n} rows at 0:00 stand behind the other rows of their date, so they seem to be the end of that day, and would be "
    "stored a day early: write their time as 24:00, or give them the next date, and import the file again",
)
_WHOSE_PART: Final = Template(
    "guess.ask.part",
    "where the table says '{text}' another instrument may begin: is all of it of one? Else cut the file there",
)


def settle_flags(table: RawTable, values: Sequence[str], interview: Interview) -> dict[str, tuple[str, str]]:
    """Return the column of flags of each column of values, and the label of the rows that count."""
    texts = [name for name in table.keys if name not in values]
    flag_words = load_words("flags")
    flags = [name for name in texts if flag_words.is_in(table.heading(name)) or _names_model(table.columns[name])]
    found: dict[str, tuple[str, str]] = {}
    for flag in flags:
        heading = table.heading(flag)
        labels = Counter("" if cell is None else str(cell).strip() for cell in table.columns[flag])
        bad = {label for label in labels if _is_bad(heading, label, labels)}
        if not 2 <= len(labels) <= LABELS_MOST or not bad:
            continue
        choices = {label or NO_LABEL: label for label, _ in labels.most_common()}
        usual = next((name for name, label in choices.items() if label not in bad), None)
        examples = {name: _ROWS_WITH(n=Figure(labels[label], ",")) for name, label in choices.items()}
        examples[EVERY_ROW] = _ROWS_WITH(n=Figure(labels.total(), ","))
        text = _WHICH_ROWS(column=heading, labels=NameList(tuple(choices)))
        answer = interview.request(name_own(FLAG, heading), text, (*choices, EVERY_ROW), usual, examples)
        if answer in choices:
            flagged = _list_flagged(table, flag, values, is_only_flag=len(flags) == 1)
            found |= dict.fromkeys(flagged, (flag, choices[answer]))
    return found


def _is_bad(heading: str, label: str, labels: Collection[str]) -> bool:
    """Return whether a flag means that a row has no reading, by its word, its truth value or its code."""
    if load_words("flags", "truths").is_in(heading) and load_words("flags", "false").is_whole(label):
        return True
    if _strip(heading) == "q" and "1" in labels and set(labels) <= _SOLUTIONS:
        return label != "1"
    if is_marked_bad(label) or load_words("not_measured").is_in(label):
        return True
    return _GOOD_CODE in labels and label.isdigit() and int(label) < _BAD_CODES


def _names_model(cells: Sequence[object]) -> bool:
    """Return whether the cells of some rows name values that a program worked out."""
    kinds = set(cells) if len(cells) and isinstance(cells[0], str) else set()
    if len(kinds) > LABELS_MOST:
        return False
    return any(isinstance(kind, str) and load_words("not_measured").is_in(kind) for kind in kinds)


def _list_flagged(table: RawTable, flag: str, values: Sequence[str], *, is_only_flag: bool) -> Sequence[str]:
    """Return the columns of values that share the name of a column of flags; else all, or the one before it."""
    base = _strip(load_words("flags").remove(table.heading(flag)))
    alike = [name for name in values if base and _strip(table.heading(name)).startswith(base)]
    if alike:
        return alike
    before = [name for name in values if table.keys.index(name) < table.keys.index(flag)]
    return values if is_only_flag else before[-1:]


def _strip(heading: str) -> str:
    return re.sub(r"[\W_]+", "", heading).casefold()


def refuse_sums(table: RawTable, times: Times, station: str | None, kinds: str | None) -> None:
    """Raise ConfigError if sums of days stand among the rows of the days. See `refuse_midnights` for the arguments."""
    records = _list_records(table, times, station, kinds)
    sums = sum(map(_count_sums, records))
    cells = table.columns[times.rule.columns[0]]
    texts = [cell for cell in cells if isinstance(cell, str)]
    bare = [cell for cell in texts if cell[:1].isdigit() and ":" not in cell]
    if len(times.rule.columns) == 1 and 2 * len(bare) < len(texts) and not sums and len(records) == 1:
        known = Counter(records[0])
        for cell in bare:
            with suppress(PayloadError):
                sums += known[times.rule.read_naive(cell).replace(tzinfo=None)] > 1
    if sums:
        raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_SUMS(n=Figure(sums, "d"))))


def _count_sums(clocks: Sequence[datetime]) -> int:
    """Return how many midnights occur both before and after the rows of their day."""
    known = Counter(clocks)
    behind = zip(clocks, clocks[1:], clocks[2:], strict=False)
    return sum(a > b == datetime.combine(a, time()) and c > a and known[b] > 1 for a, b, c in behind)


def _list_records(table: RawTable, times: Times, station: str | None, kinds: str | None) -> list[list[datetime]]:
    """Return the times of each record in the order of its rows; one record if some times cannot be read."""
    clocks = [at.replace(tzinfo=None) for at in times.parsed]
    by = [column for column in (station, kinds) if column is not None]
    if len(clocks) != table.rows or not by:
        return [clocks]
    records: dict[tuple[str, ...], list[datetime]] = {}
    for row, at in enumerate(clocks):
        records.setdefault(tuple(str(table.columns[column][row]) for column in by), []).append(at)
    return list(records.values())


def refuse_midnights(table: RawTable, times: Times, station: str | None, kinds: str | None) -> None:
    """Raise ConfigError if midnights are written as 0:00 of the day that they end.

    Such a row comes after the later rows of its own date, and the next date follows.

    Args:
        table: The table.
        times: Its times.
        station: The column that names the station of each row. Each station is checked alone.
        kinds: The column that names the kind of each row. Each kind is checked alone.
    """
    count = sum(map(_count_midnights, _list_records(table, times, station, kinds)))
    if count:
        raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_MIDNIGHTS(n=Figure(count, "d"))))


def _count_midnights(clocks: Sequence[datetime]) -> int:
    """Return how many midnights come after the other rows of their date."""
    # On one single day the midnight at the end may be the least of all times, so the steps decide.
    is_one_day = bool(clocks) and clocks[0].date() == clocks[-1].date()
    steps_back = sum(after < before for before, after in pairwise(clocks))
    if clocks and (2 * steps_back > len(clocks) if is_one_day else clocks[0] > clocks[-1]):
        clocks = clocks[::-1]  # the newest first
    count = 0
    for index, (before, at) in enumerate(pairwise(clocks), 1):
        is_midnight = at == datetime.combine(before, time()) and before > at
        following = clocks[index + 1] if index + 1 < len(clocks) else None
        if is_midnight and (following is None or following > before):
            count += 1
    return count


def request_factor(table: RawTable, column: str, interview: Interview) -> None:
    """Ask whether the values are scaled already if a line above or below the headings names a factor.

    Args:
        table: The table.
        column: The column of times; the text below it is the label of its line.
        interview: The answers and open questions.
    """
    label = table.notes.get(column, "")
    lines = (*table.above, *(f"{label} {note}" for name, note in table.notes.items() if name != column))
    for line in lines:
        for begin, end in load_words("scale_factors").find_spans(line):
            match = _FACTOR.match(line, end)
            if match is not None and float(match[1].replace(",", ".")) not in {0.0, 1.0}:
                interview.request(FACTOR, _SCALED(text=line[begin : match.end()]), (AS_THEY_ARE,))
                return


def request_parts(table: RawTable, times: Times, interview: Interview) -> None:
    """Ask whether all rows belong to one instrument if a line of text, a serial number or a name divides them."""
    column, *_ = times.rule.columns
    others = [name for name in table.keys if name != column]
    filled = [any(not is_empty(table.columns[name][k]) for name in others) for k in range(table.rows)]
    last = max((k for k, is_row in enumerate(filled) if is_row), default=0)
    ahead = enumerate(table.columns[column][:last])
    found = [str(c) for k, c in ahead if not filled[k] and isinstance(c, str) and re.match(r"[^\W\d_]", c)]
    for name in others:
        cells = [str(cell) for cell in table.columns[name] if not is_empty(cell)]
        runs = [cell for cell, _ in groupby(cells)]
        is_part = is_serial(table.heading(name)) and len(runs) <= LABELS_MOST
        is_merged = is_station_column(table.heading(name)) and 2 * len(cells) <= table.rows and filled[:1] == [True]
        if (is_part or is_merged) and 2 <= len(runs) == len(set(runs)):
            found += runs[1:]
    if found:
        interview.request(PART, _WHOSE_PART(text=found[0][:60]), (ONE_INSTRUMENT,))
