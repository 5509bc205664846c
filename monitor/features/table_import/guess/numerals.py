"""How the numbers of a table are written: decimal mark, thousands, and the texts for a missing measurement."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Final

from monitor.api.ingest import is_nameless, is_number, normalise_number
from monitor.api.readings import find_fills, is_no_value
from monitor.api.sites import read_trace
from monitor.api.text import Figure, Template
from monitor.features.table_import.guess.names import read_heading
from monitor.features.table_import.guess.questions import Interview
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.words import load_words

DECIMAL: Final = "decimal"
COMMA: Final = "comma"
POINT: Final = "point"
# A column holds numbers if this share of its filled cells are numbers, or half of them beside a few different words.
NUMBERS_LEAST: Final = 0.8
NUMBERS_LEAST_BESIDE_WORDS: Final = 0.5
WORDS_MOST: Final = 5
# The decimal mark that this share of the numbers show is that of the table.
CLEAR: Final = 0.9

_WHICH_MARK: Final = Template("guess.ask.decimal", "which is the decimal mark? some numbers are like '{value}'")
_BECOMES: Final = Template("guess.ask.decimal.becomes", "'{text}' becomes {value}")
_THOUSANDS_MARKS: Final = ("'", "\u2019", "\u00a0", "\u202f", " ")
# The number behind the words for a missing value. A share is no such number.
_DECLARED_FILL: Final = re.compile(r"[\s=:;,\"']*([-+]?\d+(?:[.,]\d+)?)(?!\s*%|[\d.,]*\d)")
_BELOW_DETECTION: Final = re.compile(r"[<>≤≥]\s*\d[\d.,]*")


@dataclass(frozen=True, slots=True)
class Numerals:
    """How the numbers of a table are written.

    Attributes:
        decimal: The decimal mark.
        thousands: The mark between groups of digits; empty if there is none.
        missing: Texts for a missing measurement, and how often each occurs.
    """

    decimal: str
    thousands: str
    missing: Mapping[str, int] = field(default_factory=dict)


def is_empty(cell: Any) -> bool:
    """Return whether a cell has no value."""
    return is_no_value(cell)


def list_names(cells: Sequence[Any]) -> list[str]:
    """Return the names in a column of names, row by row.

    A word such as NA is a name if it has about as many rows as the other names have.

    >>> list_names(["NA", "NB", "NA", "NB"]), list_names(["P1", "P2", "P1", "P2", "NA"] * 2 + ["P1", "P2"] * 9)[4]
    (['NA', 'NB', 'NA', 'NB'], '')
    """
    names = ["" if is_nameless(cell) else str(cell).strip() for cell in cells]
    counts = Counter(filter(None, names))
    doubtful = {name for name in counts if is_no_value(name)}
    if not doubtful or len(counts) < 2:
        return ["" if name in doubtful else name for name in names]
    usual = median([count for name, count in counts.items() if name not in doubtful] or counts.values())
    rare = {name for name in doubtful if 2 * counts[name] < usual}
    return ["" if name in rare else name for name in names]


def is_numeric(cells: Sequence[Any]) -> bool:
    """Return whether the filled cells of a column are numbers, except for a few words that recur."""
    filled = [cell for cell in cells if not is_empty(cell)]
    words = Counter(cell for cell in filled if isinstance(cell, str) and not is_number(cell))
    numbers = sum(
        not isinstance(cell, bool) and (isinstance(cell, int | float) or is_number(str(cell))) for cell in filled
    )
    if not numbers:
        return False
    below = sum(count for text, count in words.items() if _BELOW_DETECTION.fullmatch(text))
    plain = [text for text in words if not _BELOW_DETECTION.fullmatch(text)]
    has_few_words = len(words) <= WORDS_MOST and not any(map(_has_digit, plain))
    least = NUMBERS_LEAST_BESIDE_WORDS if has_few_words else NUMBERS_LEAST
    return numbers + below >= least * len(filled)


def settle_numerals(table: RawTable, numbers: Sequence[str], interview: Interview) -> Numerals:
    """Return how the columns of numbers are written, by most of their cells or by an answer."""
    numerals = Numerals(*_settle_marks(table, numbers, interview))
    missing = _find_missing(table, numbers, numerals)
    for text in list(missing):
        if read_trace(text, "rain") is None:
            continue
        columns = [column for column in numbers if text in table.columns[column]]
        meanings = [read_heading(table.heading(column), table.units.get(column)) for column in columns]
        if all(meaning.quantity == "rain" for meaning in meanings):
            del missing[text]  # a trace of rain is a measurement
    return replace(numerals, missing=missing)


def _settle_marks(table: RawTable, numbers: Sequence[str], interview: Interview) -> tuple[str, str]:
    """Return the decimal mark and the mark of thousands."""
    texts = [cell for name in numbers for cell in table.columns[name] if isinstance(cell, str) and is_number(cell)]
    thousands = next((mark for mark in _THOUSANDS_MARKS if any(mark in text.strip() for text in texts)), "")
    counts = Counter(mark for text in texts if (mark := _find_mark(text)))
    if counts:
        mark = _choose_mark(texts, counts, interview)
        other = "." if mark == "," else ","
        has_other = any(other in text for text in texts if _find_mark(text) in {"", mark})
        return mark, other if has_other else thousands
    # Cells are separated by semicolons where a comma is the decimal mark.
    doubtful_marks = re.compile("[,.]" if table.layout.delimiter == ";" else ",")
    grouped = next(filter(doubtful_marks.search, texts), None)
    if grouped is None:
        return ".", thousands
    shown = "," if "," in grouped else "."
    mark = _request_decimal(grouped, shown, interview)
    return mark, thousands if mark == shown else shown


def _choose_mark(texts: Sequence[str], counts: Counter[str], interview: Interview) -> str:
    """Return the decimal mark that most numbers show; ask if too many show the other one."""
    mark, count = counts.most_common(1)[0]
    if count >= CLEAR * counts.total():
        return mark
    return _request_decimal(next(text for text in texts if _find_mark(text) not in {"", mark}), mark, interview)


def _find_mark(text: str) -> str:
    """Return the decimal mark of a number; an empty text if it has none, or if its mark may be one of thousands."""
    comma, point = text.rfind(","), text.rfind(".")
    if comma >= 0 and point >= 0:
        return "," if comma > point else "."
    mark = "," if comma >= 0 else "."
    count = text.count(mark)
    if count > 1:
        return "." if mark == "," else ","
    may_be_thousands = re.match(rf"[+-]?[1-9]\d{{0,2}}\{mark}\d{{3}}$", text) is not None
    return mark if count and not may_be_thousands else ""


def _request_decimal(example: str, usual: str, interview: Interview) -> str:
    """Ask for the decimal mark; `usual` is the likely one."""
    examples = {}
    for name, mark, other in ((COMMA, ",", "."), (POINT, ".", ",")):
        value = read_number(example, Numerals(mark, other))
        if value is not None:
            examples[name] = _BECOMES(text=example, value=Figure(value, ".10g"))
    default = COMMA if usual == "," else POINT
    answer = interview.request(DECIMAL, _WHICH_MARK(value=example), (COMMA, POINT), default, examples)
    if answer is None:
        return usual
    return "," if answer == COMMA else "."


def read_number(cell: Any, numerals: Numerals) -> float | None:
    """Return the number in a cell, or None if it has none."""
    try:
        text = str(normalise_number(cell))
        text = text.replace(numerals.thousands, "") if numerals.thousands else text
        return float(text.replace(numerals.decimal, "."))
    except ValueError:
        return None


def list_numbers(table: RawTable, column: str, numerals: Numerals) -> list[float]:
    """Return the measurements of a column."""
    cells = (cell for cell in table.columns[column] if not is_empty(cell) and str(cell) not in numerals.missing)
    return [number for cell in cells if (number := read_number(cell, numerals)) is not None]


def _find_missing(table: RawTable, numbers: Sequence[str], numerals: Numerals) -> dict[str, int]:
    """Return the words and far-off numbers for a missing measurement as they are written, with their count."""
    found: Counter[str] = Counter()
    declared = {number for line in table.above for number in _list_declared_fills(line)}
    for column in numbers:
        texts = Counter(
            cell for cell in table.columns[column] if isinstance(cell, str) and cell and not is_number(cell)
        )
        for text, count in texts.items():
            is_repeated_word = count >= 2 and not _has_digit(text)
            if is_no_value(text) or _BELOW_DETECTION.fullmatch(text) or is_repeated_word:
                found[text] += count
        cells = [cell for cell in table.columns[column] if not isinstance(cell, str) or is_number(cell)]
        written = [(str(cell), number) for cell in cells if (number := read_number(cell, numerals)) is not None]
        fills = {*find_fills([number for _, number in written])}
        others = [number for _, number in written if number not in declared]
        fills |= {number for number in declared if others and not min(others) <= number <= max(others)}
        found.update(text for text, number in written if number in fills)
    return dict(found)


def _list_declared_fills(line: str) -> list[float]:
    """Return the numbers that a line above the headings declares for missing values.

    >>> _list_declared_fills("NoData value: -9999"), _list_declared_fills("missing values: 3 %, no data: 12")
    ([-9999.0], [])
    """
    text = line.lower()  # "NoData" is one word of the list
    fills = []
    for key in ("words", "before_negative"):
        for _, end in load_words("missing_values", key).find_spans(text):
            match = _DECLARED_FILL.match(text, end)
            if match is not None and (key == "words" or match[1].startswith("-")):
                fills.append(float(match[1].replace(",", ".")))
    return fills


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)
