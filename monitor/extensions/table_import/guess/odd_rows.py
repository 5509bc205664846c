"""Rows that are no readings of the instrument of the table: bad by their own label, sums of a day, of another one."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, time
from itertools import groupby
from typing import Final

from forecasting.message import TEXT_OF, Figure, NameList, Template
from monitor.domain.errors import ConfigError, PayloadError
from monitor.domain.instruments.no_value import says_bad
from monitor.extensions.table_import.guess.calendar import AS_THEY_ARE
from monitor.extensions.table_import.guess.names import NOT_MEASURED, is_serial, is_station_column
from monitor.extensions.table_import.guess.numerals import is_empty
from monitor.extensions.table_import.guess.questions import Interview, name_own
from monitor.extensions.table_import.guess.raw_table import RawTable
from monitor.extensions.table_import.guess.times import Times

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
        says_bad(label)
        or NOT_MEASURED.search(label) is not None
        or (_GOOD_CODE in labels and label.isdigit() and int(label) < _BAD_CODES)
    )


def _names_model(cells: Sequence[object]) -> bool:
    """Whether cells say of some rows that nothing measured them."""
    kinds = set(cells) if len(cells) and isinstance(cells[0], str) else set()
    return len(kinds) <= KINDS_MOST and any(isinstance(one, str) and NOT_MEASURED.search(one) for one in kinds)


def _list_flagged(table: RawTable, flag: str, values: Sequence[str], *, alone: bool) -> Sequence[str]:
    """The columns that a column of flags is of: those that it is called like, else all, or the one before it."""
    base = _strip(_OF_FLAGS.sub("", table.title(flag)))
    like = [name for name in values if base and _strip(table.title(name)).startswith(base)]
    before = [name for name in values if table.names.index(name) < table.names.index(flag)]
    return like or (values if alone else before[-1:])


def _strip(title: str) -> str:
    return re.sub(r"[\W_]+", "", title).casefold()


def refuse_sums(table: RawTable, times: Times) -> None:
    """Refuse sums of days among the rows of the days; raises ConfigError."""
    clocks = [at.replace(tzinfo=None) for at in times.parsed]
    known = Counter(clocks)
    behind = zip(clocks, clocks[1:], clocks[2:], strict=False)  # a midnight behind the rows of its day
    sums = sum(a > b == datetime.combine(a, time()) and c > a and known[b] > 1 for a, b, c in behind)
    cells = [cell for cell in table.columns[times.rule.columns[0]] if isinstance(cell, str)]
    bare = [cell for cell in cells if cell[:1].isdigit() and ":" not in cell]
    for cell in bare if len(times.rule.columns) == 1 and 2 * len(bare) < len(cells) and not sums else ():
        with suppress(PayloadError):
            sums += known[times.rule.read_naive(cell).replace(tzinfo=None)] > 1
    if sums:
        raise ConfigError(TEXT_OF(name=str(table.path), text=_SUMS(n=Figure(sums, "d"))))


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
