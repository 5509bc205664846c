"""Headers inside a table: a line that repeats or resembles the header ends a part of the file and starts another.

Loggers with a new program, and files that were joined, contain such lines. A part with another header than the first,
or with its columns in another order, is rejected with the number of its line.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from monitor.errors import ConfigError
from monitor.ingest.text.cells import is_number, is_plain, is_time
from monitor.ingest.text.time_words import compile_alternatives
from monitor.text.message import LABELLED_TEXT, Figure, NameList, Template

Cells = Sequence[Any]
Numbered = tuple[int, Cells]
"""The number of a line and its cells."""

# Longest header in lines. As many lines without data are held back until the next row of data.
HEAD_MOST: Final = 30
# As many different words in a line are a header, even if they resemble no name of a column.
WORDS_LEAST: Final = 3
# A line resembles the header if this share of its cells are names of columns.
RESEMBLE: Final = 0.5
ANNOTATION: Final = re.compile(r"#(?:group|datatype|default|constant|timezone|dateTime|concat)\b", re.IGNORECASE)
_WORDS: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SUM: Final = re.compile(
    rf"(?:(?:{compile_alternatives(_WORDS['sums']['prefixes'])}) )?(?:{compile_alternatives(_WORDS['sums']['words'])})",
    re.IGNORECASE,
)
_TOA5: Final = "TOA5"
_IN_BRACKETS: Final = re.compile(r"[\[(（［][^\])）］]*[\])）］]?")
_DATE: Final = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}")
_OTHER: Final = Template(
    "file.head.names",
    "line {n} begins another part of the file with other columns, or in another order ({names}): cut the file there, "
    "and read each part in by itself",
)
_SAYS: Final = Template(
    "file.head.says",
    "line {n} begins another part of the file, and its head says '{text}', which that of the first does not: cut the "
    "file there, and read each part in by itself",
)


def refuse_part(file: str, line: int, text: str) -> ConfigError:
    """Return the error for a line that belongs to another header than the first."""
    return ConfigError(LABELLED_TEXT(name=file, text=_SAYS(n=Figure(line, "d"), text=" ".join(text.split())[:80])))


def is_annotation(cells: Cells) -> bool:
    """Return whether a line has the types, groups or defaults of columns that databases write above the header."""
    return bool(cells) and isinstance(cells[0], str) and ANNOTATION.match(cells[0]) is not None


def names_rise(cells: Cells) -> bool:
    """Return whether a header has rising numbers, such as depths or hours, between words for the time and a sum.

    >>> names_rise(["Depth", "0.5", "1.0"]), names_rise(["Date", "1", "2", "Total"]), names_rise(["P1", "1", "2", "ok"])
    (True, True, False)
    """
    texts = _list_texts(cells)
    while texts and _SUM.fullmatch(texts[-1]):
        texts.pop()
    if len(texts) < 3 or is_plain(texts[0]):
        return False
    try:
        return all(a < b for a, b in pairwise(float(text.replace(",", ".")) for text in texts[1:]))
    except ValueError:
        return False


def list_early(skipped: Sequence[Numbered], first: Cells) -> list[Numbered]:
    """Return the rows of data above the header: they have the kinds of cells of the first row, or of a neighbour."""
    kinds = [_list_kinds(cells) for _, cells in skipped]
    usual, wide = _list_kinds(first), {"time", "number"}
    neighbours = [None, *kinds, None]
    return [
        one
        for k, one in enumerate(skipped)
        if len(kinds[k]) > 1 and wide <= {*kinds[k]} and kinds[k] in (usual, neighbours[k], neighbours[k + 2])
    ]


def _list_kinds(cells: Cells) -> tuple[str, ...]:
    return tuple("number" if is_number(t) else "time" if is_time(t) else "text" for t in _list_texts(cells))


class Heads:
    """The header of a table, with which later lines are compared."""

    def __init__(self, file: str, names: Cells, above: Iterable[Cells] = (), below: Iterable[Cells] = ()) -> None:
        self.file = file
        self.names = _list_texts(names)
        self.below = [_list_texts(row) for row in below]
        self.above = [_list_texts(row) for row in above]
        self._known = frozenset(filter(None, self.names))
        self._plain = frozenset(filter(None, map(_strip, self.names)))
        self._heads = self._known | {_TOA5}
        # Place of the first number or time in the last row of data.
        self._at = 0

    def follow(self, rows: Iterable[Numbered]) -> Iterator[Numbered]:
        """Yield the rows of all parts without their headers.

        Raises:
            ConfigError: a part has other columns, another order of them, other units or zones than the first.
        """
        held: list[Numbered] = []
        has_head = False
        for line, cells in rows:
            if self._is_data(cells):
                yield from self._leave_head(held)
                held, has_head = [], False
                yield line, cells
            elif held or any(map(_text, cells)):
                held.append((line, cells))
                has_head |= self._is_head(cells)
                if len(held) > HEAD_MOST and has_head:
                    held, has_head = self._leave_head(held), False
                elif len(held) > HEAD_MOST:
                    yield held.pop(0)
            else:
                yield line, cells
        # A line without rows below it is a repeated header, or the end of the file, which is rejected as a row.
        yield from (one for one in held if not self._is_known(one[1]))

    def _leave_head(self, held: list[Numbered]) -> list[Numbered]:
        """Return the lines that belong to no header; raises ConfigError for a header that differs from the first."""
        heads = [k for k, (_, cells) in enumerate(held) if self._is_head(cells)]
        if not heads:
            return [one for one in held if not self._is_known(one[1])]
        at = max((k for k in heads if self._resembles(held[k][1])), default=heads[0])
        line, texts = held[at][0], _list_texts(held[at][1])
        if [text.casefold() for text in texts] != [text.casefold() for text in self.names]:
            text = _OTHER(n=Figure(line, "d"), names=NameList(tuple(filter(None, texts))))
            raise ConfigError(LABELLED_TEXT(name=self.file, text=text))
        after = [one for one in held[at + 1 :] if any(map(_text, one[1]))]
        for k, (number, below) in enumerate(after):
            if (kept := _list_texts(below)) not in self.below[k : k + 1]:
                raise refuse_part(self.file, number, " ".join(kept))
        for number, above in held[:at]:
            kept = _list_texts(above)
            if kept and not self._is_known(above) and not _is_same_but_for_days(kept, self.above):
                raise refuse_part(self.file, number, " ".join(kept))
        return []

    def _is_data(self, cells: Cells) -> bool:
        first = cells[0] if cells else None
        if isinstance(first, str):
            likely = cells[self._at] if self._at < len(cells) else None
            if isinstance(likely, str) and likely[:1].isdigit() and first.strip() not in self._heads:
                return True  # true of nearly every row, so it is checked first
            if first.strip() == _TOA5 or is_annotation(cells):
                return False
        named = self._known.intersection(cell.strip() for cell in cells if isinstance(cell, str))
        if named and len(named) >= RESEMBLE * len(self._known):
            return False
        for k, cell in enumerate(cells):
            text = _text(cell)
            if (cell is not None and not isinstance(cell, str)) or (text and (is_number(text) or is_time(text))):
                self._at = k
                return True
        return False

    def _is_head(self, cells: Cells) -> bool:
        texts = [*filter(None, _list_texts(cells))]
        if len(texts) < min(2, len(self._known)) or texts[0] == _TOA5 or is_annotation(cells):
            return False
        has_unit = any(map(_IN_BRACKETS.search, texts))
        is_full = len(texts) == len(set(texts)) >= max(2 if has_unit else WORDS_LEAST, sum(map(bool, self.names)))
        return self._resembles(cells) or (is_full and not self._is_known(cells))

    def _resembles(self, cells: Cells) -> bool:
        texts = [*filter(None, _list_texts(cells))]
        count = sum(text in self._known or _strip(text) in self._plain for text in texts)
        return count >= RESEMBLE * max(len(texts), min(len(self._known), 2))

    def _is_known(self, cells: Cells) -> bool:
        kept = _list_texts(cells)
        return kept[:1] == [_TOA5] or is_annotation(cells) or kept in (self.names, *self.above, *self.below)


def _text(cell: Any) -> str:
    return "" if cell is None else " ".join(str(cell).replace("\ufeff", "").split())


def _list_texts(cells: Cells) -> list[str]:
    texts = [_text(cell) for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return texts


def _strip(name: str) -> str:
    return re.sub(r"[\W_]+", "", _IN_BRACKETS.sub("", name)).casefold()


def _is_same_but_for_days(texts: Sequence[str], above: Iterable[Sequence[str]]) -> bool:
    """Return whether a line is one of the first header except for its date, as the date of an export is."""
    text = " ".join(texts)
    if _DATE.search(text) is None:
        return False
    bare = re.sub(r"\d+", "0", text)
    return any(re.sub(r"\d+", "0", " ".join(one)) == bare for one in above)
