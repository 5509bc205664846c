"""How the numbers of an unknown table are written: decimal mark, thousands, and what stands for no measurement."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Final

from monitor.api.ingest import is_nameless, is_number, normalise_number
from monitor.api.readings import find_fills, is_no_value
from monitor.api.sites import read_trace
from monitor.api.text import Template
from monitor.features.table_import.guess.names import read_name
from monitor.features.table_import.guess.questions import Interview
from monitor.features.table_import.guess.raw_table import RawTable

DECIMAL: Final = "decimal"
COMMA, POINT = "comma", "point"
_WHICH_MARK: Final = Template("guess.ask.decimal", "which is the decimal mark? some numbers are like '{value}'")
NUMBERS_LEAST: Final = 0.8  # share of the cells of a column of measurements that are numbers
WORDS_MOST: Final = 5  # different words in a column of numbers; then half of its cells may be words
CLEAR: Final = 0.9  # share of the cells that settles the decimal mark
_BLANKS: Final = ("'", "\u2019", "\u00a0", "\u202f", " ")
_GAPS: Final = (
    r"rinval|nodata(?:[ _-]?value)?|no[ _-]data[ _-]value|missing[ _-]?value|fill[ _-]?value|fehlwert|lückenwert",
    r"(?:dato|valore|valeur|valor)[ _](?:mancant|manquant|ausent)\w*|(?:no|missing)[ _-](?:data|values)(?=\W*-)",
)
_DECLARED: Final = re.compile(  # in words above the names; how many gaps there are, or their share, is not below zero
    rf"(?:{'|'.join(_GAPS)})[\s=:;,\"']*([-+]?\d+(?:[.,]\d+)?)(?!\s*%|[\d.,]*\d)", re.IGNORECASE
)
_BELOW: Final = re.compile(r"[<>≤≥]\s*\d[\d.,]*")  # below what the instrument can measure


def is_empty(cell: Any) -> bool:
    """Whether a cell says nothing."""
    return is_no_value(cell)


def list_names(cells: Sequence[Any]) -> list[str]:
    """The names in a column of names, row by row; a word such as NA counts where it has as many rows as a name has.

    >>> list_names(["NA", "NB", "NA", "NB"]), list_names(["P1", "P2", "P1", "P2", "NA"] * 2 + ["P1", "P2"] * 9)[4]
    (['NA', 'NB', 'NA', 'NB'], '')
    """
    names = ["" if is_nameless(cell) else str(cell).strip() for cell in cells]
    counts = Counter(filter(None, names))
    doubtful = {name for name in counts if is_no_value(name)}
    if not doubtful or len(counts) < 2:
        return ["" if name in doubtful else name for name in names]
    usual = median([n for name, n in counts.items() if name not in doubtful] or counts.values())
    rare = {name for name in doubtful if 2 * counts[name] < usual}
    return ["" if name in rare else name for name in names]


def is_numeric(cells: Sequence[Any]) -> bool:
    """Whether the cells of a column that say something are numbers, but for a few words that come again."""
    filled = [c for c in cells if not is_empty(c)]
    words = Counter(c for c in filled if isinstance(c, str) and not is_number(c))
    numbers = sum(not isinstance(c, bool) and (isinstance(c, int | float) or is_number(str(c))) for c in filled)
    below = sum(n for text, n in words.items() if _BELOW.fullmatch(text))
    if not numbers:
        return False
    few = len(words) <= WORDS_MOST and not any(map(_has_digit, (w for w in words if not _BELOW.fullmatch(w))))
    return numbers + below >= (0.5 if few else NUMBERS_LEAST) * len(filled)


@dataclass(frozen=True, slots=True)
class Numerals:
    """How the numbers of a table are written."""

    decimal: str
    thousands: str  # mark between groups of digits; "": none
    missing: Mapping[str, int] = field(default_factory=dict)  # what stands for no measurement, and how often


def settle_numerals(table: RawTable, numbers: Sequence[str], talk: Interview) -> Numerals:
    """How the columns of numbers are written, by what most of them say, or a person."""
    numerals = Numerals(*_settle_marks(table, numbers, talk))
    missing = _find_missing(table, numbers, numerals)
    for text in [w for w in missing if read_trace(w, "rain") is not None]:
        columns = [n for n in numbers if text in table.columns[n]]
        if all(read_name(table.title(n), table.units.get(n)).quantity == "rain" for n in columns):
            del missing[text]  # a trace is nothing that could be measured, and no gap
    return replace(numerals, missing=missing)


def _settle_marks(table: RawTable, numbers: Sequence[str], talk: Interview) -> tuple[str, str]:
    texts = [c for name in numbers for c in table.columns[name] if isinstance(c, str) and is_number(c)]
    thousands = next((mark for mark in _BLANKS if any(mark in text.strip() for text in texts)), "")
    if counted := Counter(mark for text in texts if (mark := _mark_of(text))):
        mark = _choose_mark(texts, counted, talk)
        other = "." if mark == "," else ","
        return mark, other if any(other in text for text in texts if _mark_of(text) in {"", mark}) else thousands
    # a semicolon parts the cells where a comma is the decimal mark
    in_doubt = re.compile("[,.]" if table.layout.delimiter == ";" else ",")
    if (grouped := next(filter(in_doubt.search, texts), None)) is None:
        return ".", thousands
    shown = "," if "," in grouped else "."
    mark = _request_decimal(grouped, shown, talk)
    return mark, thousands if mark == shown else shown


def _choose_mark(texts: Sequence[str], counted: Counter[str], talk: Interview) -> str:
    """The decimal mark that most numbers show; a person says it where too many show the other."""
    mark, count = counted.most_common(1)[0]
    if count >= CLEAR * counted.total():
        return mark
    return _request_decimal(next(t for t in texts if _mark_of(t) not in {"", mark}), mark, talk)


def _mark_of(text: str) -> str:
    """The decimal mark that a number shows; "" where it has none, or where that may be one of thousands."""
    comma, point = text.rfind(","), text.rfind(".")
    if comma >= 0 and point >= 0:
        return "," if comma > point else "."
    mark = "," if comma >= 0 else "."
    count = text.count(mark)
    if count > 1:
        return "." if mark == "," else ","
    could_group = re.match(rf"[+-]?[1-9]\d{{0,2}}\{mark}\d{{3}}$", text)
    return mark if count and could_group is None else ""


def _request_decimal(example: str, usual: str, talk: Interview) -> str:
    answer = talk.request(DECIMAL, _WHICH_MARK(value=example), (COMMA, POINT), COMMA if usual == "," else POINT)
    return usual if answer is None else "," if answer == COMMA else "."


def read_number(cell: Any, numerals: Numerals) -> float | None:
    """The number of a cell; None where it is none."""
    try:
        text = str(normalise_number(cell))
        text = text.replace(numerals.thousands, "") if numerals.thousands else text
        return float(text.replace(numerals.decimal, "."))
    except ValueError:
        return None


def list_numbers(table: RawTable, column: str, numerals: Numerals) -> list[float]:
    """The measurements of a column."""
    cells = (c for c in table.columns[column] if not is_empty(c) and str(c) not in numerals.missing)
    return [n for c in cells if (n := read_number(c, numerals)) is not None]


def _find_missing(table: RawTable, numbers: Sequence[str], numerals: Numerals) -> dict[str, int]:
    """Words and far-off numbers that stand for "no measurement", as they are written, with their count."""
    words: Counter[str] = Counter()
    declared = {float(found[1].replace(",", ".")) for line in table.above for found in _DECLARED.finditer(line)}
    for name in numbers:
        texts = Counter(c for c in table.columns[name] if isinstance(c, str) and c and not is_number(c))
        for text, count in texts.items():
            again = count >= 2 and not _has_digit(text)
            if is_no_value(text) or _BELOW.fullmatch(text) or again:
                words[text] += count
        cells = (cell for cell in table.columns[name] if not isinstance(cell, str) or is_number(cell))
        spelled = [(str(c), n) for c in cells if (n := read_number(c, numerals)) is not None]
        fills = {*find_fills([number for _, number in spelled])}
        rest = [number for _, number in spelled if number not in declared]
        fills |= {number for number in declared if rest and not min(rest) <= number <= max(rest)}
        words |= Counter(cell for cell, number in spelled if number in fills)
    return dict(words)


def _has_digit(text: str) -> bool:
    return any(sign.isdigit() for sign in text)
