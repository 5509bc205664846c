"""The lines of a text file as cells: encoding and delimiter of an unknown table."""

import csv
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from monitor.api.errors import ConfigError
from monitor.api.ingest import LINE_LIMIT, WHITESPACE, Layout, find_bare_utf_16, strip_zeros
from monitor.api.queries.ingest import describe_known
from monitor.api.text import EMPTY_FILE, LABELLED_TEXT, UNREADABLE_FILE, Figure, Template
from monitor.features.table_import.guess.table_head import find_usual_width, is_data_cell, score_cells

HEAD_BYTES: Final = 1 << 20
SCAN_LINES: Final = 300  # by which header and delimiter are found
HEAD_LINES: Final = 30  # that contain the names of the columns
DELIMITERS: Final = (";", "\t", ",", "|", WHITESPACE)
SCORE_LEAST: Final = 0.5
_DELIMITED_LEAST: Final = 0.8  # share of the lines that contain the delimiter of a table
_NO_TABLE: Final = Template(
    "guess.look.no_table", "no table that can be recognised: most lines need the same number of cells, with numbers"
)
_BINARY: Final = Template("guess.look.binary", "no text")
_ODD_ENCODING: Final = Template("guess.look.encoding", "cannot be read as {encoding}: {problem}")
_LONG_LINE: Final = Template("guess.look.long_line", "a line is longer than {n} characters")
_OPEN_QUOTE: Final = Template(
    "guess.look.quote", "line {n} has a quotation mark that is not closed: correct this line and import the file again"
)


def read_cells(path: Path) -> tuple[Layout, list[list[str]]]:
    """Return the delimiter and the encoding of a text file, and its first lines as cells.

    Raises:
        ConfigError: The file is not a table that can be recognised.
    """
    encoding = find_encoding(path)
    known_form = "" if encoding.startswith("utf-16") else describe_known(path)
    if known_form:
        raise _refuse(path, known_form)
    lines = _read_lines(path, encoding)
    delimiter, cells = _choose_delimiter(lines)
    if delimiter in {"", WHITESPACE}:
        _refuse_open_quote(path, lines)
    if delimiter:
        return Layout(delimiter, encoding=encoding), cells
    starts = _find_starts(lines)
    layout = Layout(WHITESPACE, encoding=encoding, starts=starts)
    cells = [layout.split(line) for line in lines] if starts else []
    if score_cells(cells) < SCORE_LEAST:
        raise _refuse(path, _NO_TABLE())
    return layout, cells


def find_encoding(path: Path) -> str:
    """Return the encoding of a text file: UTF-8, UTF-16, else Chinese (GB 18030) or Western European.

    Raises:
        ConfigError: The file is empty, unreadable or not a text.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise _refuse(path, UNREADABLE_FILE(problem=error.strerror or "")) from None
    if not head:
        raise _refuse(path, EMPTY_FILE())
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "utf-16"
    bare = find_bare_utf_16(head)
    if bare:
        return bare
    head = strip_zeros(head)
    if b"\0" in head:
        raise _refuse(path, describe_known(path) or _BINARY())
    return "utf-8-sig" if _is_utf_8(head) else _choose_legacy_encoding(head)


def _is_utf_8(head: bytes) -> bool:
    """Return whether bytes are UTF-8; the last character may be cut."""
    for cut in range(4):
        try:
            head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False


def _choose_legacy_encoding(head: bytes) -> str:
    """Return GB 18030 if nearly all high bytes are in pairs, else the encoding of Western Europe."""
    pairs = sum(len(run) // 2 * 2 for run in re.findall(rb"[\x81-\xfe]+", head))
    loose = sum(len(run) for run in re.findall(rb"[\x80-\xff]+", head)) - pairs
    try:
        head[: head.rfind(b"\n") + 1].decode("gb18030")
    except UnicodeDecodeError:
        return "cp1252"
    return "gb18030" if pairs > 4 * loose else "cp1252"


def _read_lines(path: Path, encoding: str) -> list[str]:
    """Return the first lines of a file; a line that is too long is refused, not loaded."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            raw_lines = islice(iter(lambda: file.readline(LINE_LIMIT), ""), SCAN_LINES)
            lines = [line.rstrip("\r\n").lstrip("\0") for line in raw_lines]
    except UnicodeError as error:
        raise _refuse(path, _ODD_ENCODING(encoding=encoding, problem=str(error))) from None
    if any(len(line) >= LINE_LIMIT for line in lines):
        raise _refuse(path, _LONG_LINE(n=Figure(LINE_LIMIT, "d")))
    return lines


def _choose_delimiter(lines: Sequence[str]) -> tuple[str, list[list[str]]]:
    """Return the delimiter with the best score, and the cells; "" if no delimiter makes a table."""
    best_score = 0.0
    best = "", list[list[str]]()
    for delimiter in DELIMITERS:
        cells = _split(lines, delimiter)
        score = score_cells(cells)
        if score > best_score:
            best_score = score
            best = delimiter, cells
    return best if best_score >= SCORE_LEAST else ("", [])


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == WHITESPACE:
        return [line.split() for line in lines]
    try:
        reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
        return _fill_rows(_cut_surplus([[cell.strip() for cell in row] for row in reader]))
    except csv.Error:
        return []


def _cut_surplus(cells: list[list[str]]) -> list[list[str]]:
    """Remove the empty cells that delimiters at the end of a line add to the columns of the table."""
    filled = [row for row in cells if any(row)]
    width = find_usual_width(cells) or 0
    while width > 1 and not any(len(row) >= width and row[width - 1] for row in filled):
        width -= 1
    return [row[:width] if width and not any(row[width:]) else row for row in cells]


def _fill_rows(cells: list[list[str]]) -> list[list[str]]:
    """Add empty cells until each row is as wide as the names: some loggers omit them at the end of a line."""
    names = next((row for row in cells[:HEAD_LINES] if len(row) > 1 and not any(map(is_data_cell, row))), [])
    if any(len(row) > len(names) for row in cells):
        return cells
    return [row + [""] * (len(names) - len(row)) if len(row) > 1 else row for row in cells]


def _refuse_open_quote(path: Path, lines: Sequence[str]) -> None:
    """Raise ConfigError if a quotation mark that is not closed keeps the delimiter of the table from being found."""
    filled = [line for line in lines if line.strip()]
    is_delimited = any(
        sum(delimiter in line for line in filled) >= _DELIMITED_LEAST * len(filled)
        for delimiter in DELIMITERS
        if delimiter != WHITESPACE
    )
    odd = [number for number, line in enumerate(lines, 1) if line.count('"') % 2]
    if is_delimited and len(odd) % 2:
        raise _refuse(path, _OPEN_QUOTE(n=odd[0]))


def _find_starts(lines: Sequence[str]) -> tuple[int, ...]:
    """Return where columns of fixed width begin: behind characters that are blank in every line."""
    body = [line for line in lines if line.strip()]
    body = body[min(len(body) // 3, HEAD_LINES) :]
    longest = max((len(line) for line in body), default=0)
    blank = [all(k >= len(line) or line[k] == " " for line in body) for k in range(longest)]
    return tuple(k for k in range(longest) if not blank[k] and (k == 0 or blank[k - 1]))


def _refuse(path: Path, text: str) -> ConfigError:
    return ConfigError(LABELLED_TEXT(name=str(path), text=text))
