"""Rows that are no readings of the instrument of the table: bad by their own label, sums of a day, of another one."""

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

FLAG, PART, FACTOR = "flag", "part", "factor"
EVERY_ROW, NO_LABEL, ONE_INSTRUMENT = "every row", "no label", "one instrument"
KINDS_MOST: Final = 8  # labels of a column of flags
_OF_FLAGS: Final = re.compile(
    r"(?<![^\W\d_])(?:quality|qualit[àäéy]t?|valid\w*|flags?|status|state|qc|gültig\w*|stato|statut|estado|calidad|fix|"
    r"sol(?:ution)?|q)(?![^\W\d_])",
    re.IGNORECASE,
)
_OF_TRUTH: Final = re.compile(r"(?<![^\W\d_])(?:valid|gültig)", re.IGNORECASE)
_FALSE: Final = frozenset({"false", "no", "n", "0", "nein", "falsch", "falso"})
_GOOD_CODE: Final = "192"  # of OPC; below 64 a value is bad
_BAD_CODES: Final = 64
_SOLUTIONS: Final = frozenset("123456")  # of RTKLIB's Q: fixed is 1, 5 is a single position, metres off
_WHICH_ROWS: Final = Template(
    "guess.ask.flag", "column '{column}' says of rows: {labels}. Which of these labels have the readings that count?"
)
_FACTOR: Final = re.compile(
    r"(?<![^\W\d_])(?:scal\w*|multiplier|factor|faktor|fattore|facteur|skalierung)(?:[ _]factor)?"
    r"[\s:=]*([-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)(?![\w.])",
    re.IGNORECASE,
)
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


def settle_flags(table: RawTable, values: Sequence[str], talk: Interview) -> dict[str, tuple[str, str]]:
    """Of columns of values the column of flags, and the word of it in the rows that count."""
    texts = [name for name in table.names if name not in values]
    flags = [name for name in texts if _OF_FLAGS.search(table.title(name)) or _names_model(table.columns[name])]
    found: dict[str, tuple[str, str]] = {}
    for flag in flags:
        labels = Counter("" if cell is None else str(cell).strip() for cell in table.columns[flag])
        if not 2 <= len(labels) <= KINDS_MOST or not any(_is_bad(table.title(flag), label, labels) for label in labels):
            continue
        choices = {label or NO_LABEL: label for label, _ in labels.most_common()}
        usual = next((name for name, label in choices.items() if not _is_bad(table.title(flag), label, labels)), None)
        text = _WHICH_ROWS(column=table.title(flag), labels=NameList(tuple(choices)))
        answer = talk.request(name_own(FLAG, table.title(flag)), text, (*choices, EVERY_ROW), usual)
        if answer in choices:
            found |= dict.fromkeys(_list_flagged(table, flag, values, alone=len(flags) == 1), (flag, choices[answer]))
    return found


def _is_bad(title: str, label: str, labels: Collection[str]) -> bool:
    """Whether a flag says that a reading is none, by its label, its truth or the code of OPC."""
    if _OF_TRUTH.search(title) is not None and label.casefold() in _FALSE:
        return True
    if _strip(title) == "q" and "1" in labels and set(labels) <= _SOLUTIONS:
        return label != "1"
    return (
        is_marked_bad(label)
        or load_words("not_measured").is_in(label)
        or (_GOOD_CODE in labels and label.isdigit() and int(label) < _BAD_CODES)
    )


def _names_model(cells: Sequence[object]) -> bool:
    """Whether cells say of some rows that nothing measured them."""
    kinds = set(cells) if len(cells) and isinstance(cells[0], str) else set()
    return len(kinds) <= KINDS_MOST and any(
        isinstance(one, str) and load_words("not_measured").is_in(one) for one in kinds
    )


def _list_flagged(table: RawTable, flag: str, values: Sequence[str], *, alone: bool) -> Sequence[str]:
    """The columns that a column of flags is of: those that it is called like, else all, or the one before it."""
    base = _strip(_OF_FLAGS.sub("", table.title(flag)))
    like = [name for name in values if base and _strip(table.title(name)).startswith(base)]
    before = [name for name in values if table.names.index(name) < table.names.index(flag)]
    return like or (values if alone else before[-1:])


def _strip(title: str) -> str:
    return re.sub(r"[\W_]+", "", title).casefold()


def refuse_sums(table: RawTable, times: Times, station: str | None, kinds: str | None) -> None:
    """Refuse sums of days among the rows of the days; raises ConfigError. For the arguments see `refuse_midnights`."""
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
    """How many midnights stand behind the rows of their day, and also before them."""
    known = Counter(clocks)
    behind = zip(clocks, clocks[1:], clocks[2:], strict=False)
    return sum(a > b == datetime.combine(a, time()) and c > a and known[b] > 1 for a, b, c in behind)


def _list_records(table: RawTable, times: Times, station: str | None, kinds: str | None) -> list[list[datetime]]:
    """The clocks of each record in the order of its rows; one record where cells of the time cannot all be read."""
    clocks = [at.replace(tzinfo=None) for at in times.parsed]
    by = [column for column in (station, kinds) if column is not None]
    if len(clocks) != table.rows or not by:
        return [clocks]
    records: dict[tuple[str, ...], list[datetime]] = {}
    for row, at in enumerate(clocks):
        records.setdefault(tuple(str(table.columns[column][row]) for column in by), []).append(at)
    return list(records.values())


def refuse_midnights(table: RawTable, times: Times, station: str | None, kinds: str | None) -> None:
    """Refuse midnights that are written as 0:00 of the day that they end; raises ConfigError.

    Such a row stands behind the later rows of its own date, and the next date follows. `station` and `kinds` are the
    columns that name the station and the kind of each row: each record is looked at alone.
    """
    count = sum(map(_count_midnights, _list_records(table, times, station, kinds)))
    if count:
        raise ConfigError(LABELLED_TEXT(name=str(table.path), text=_MIDNIGHTS(n=Figure(count, "d"))))


def _count_midnights(clocks: Sequence[datetime]) -> int:
    """How many midnights stand behind the other rows of their date."""
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


def request_factor(table: RawTable, column: str, talk: Interview) -> None:
    """Ask whether values are scaled where the head, or a line below the names, says a factor. `column`: of times."""
    label = table.notes.get(column, "")
    lines = (*table.above, *(f"{label} {note}" for name, note in table.notes.items() if name != column))
    found = [match for line in lines if (match := _FACTOR.search(line))]
    odd = next((match[0] for match in found if float(match[1].replace(",", ".")) not in {0.0, 1.0}), None)
    if odd is not None:
        talk.request(FACTOR, _SCALED(text=odd), (AS_THEY_ARE,))


def request_parts(table: RawTable, times: Times, talk: Interview) -> None:
    """Ask where an instrument may begin: a line of letters alone, another serial number, a name with none below it."""
    column, *_ = times.rule.columns
    others = [name for name in table.names if name != column]
    filled = [any(not is_empty(table.columns[name][k]) for name in others) for k in range(table.rows)]
    last = max((k for k, is_row in enumerate(filled) if is_row), default=0)
    ahead = enumerate(table.columns[column][:last])
    found = [str(c) for k, c in ahead if not filled[k] and isinstance(c, str) and re.match(r"[^\W\d_]", c)]
    for name in others:
        cells = [str(cell) for cell in table.columns[name] if not is_empty(cell)]
        runs = [cell for cell, _ in groupby(cells)]
        is_part = is_serial(table.title(name)) and len(runs) <= KINDS_MOST
        is_merged = is_station_column(table.title(name)) and 2 * len(cells) <= table.rows and filled[:1] == [True]
        if (is_part or is_merged) and 2 <= len(runs) == len(set(runs)):
            found += runs[1:]
    if found:
        talk.request(PART, _WHOSE_PART(text=found[0][:60]), (ONE_INSTRUMENT,))
