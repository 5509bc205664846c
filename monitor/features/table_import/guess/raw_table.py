"""How the lines of an unknown table are made of cells: encoding, delimiter, header, row of units, first row."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from monitor.api.errors import ConfigError
from monitor.api.ingest import (
    BEFORE_HEADER,
    DIGITS,
    LINE_LIMIT,
    TIME_COLUMN_NAME,
    WHITESPACE,
    WORKBOOKS,
    Layout,
    find_bare_utf_16,
    find_day_zero,
    is_annotation,
    is_campbell,
    is_number,
    is_plain,
    is_time,
    name_columns,
    names_rise,
    open_rows,
    read_unit,
    read_units,
    read_workbook,
    strip_zeros,
    unit_of_header,
)
from monitor.api.queries.ingest import describe_known
from monitor.api.readings import is_no_value
from monitor.api.sites import is_raw
from monitor.api.text import EMPTY_FILE, LABELLED_TEXT, UNREADABLE_FILE, Figure, NameList, Template
from monitor.features.table_import.guess.names import is_station_column, read_name

HEAD_BYTES: Final = 1 << 20
SCAN_LINES: Final = 300  # to find header and delimiter
HEAD_LINES: Final = 30  # the names stand in one of them
SAMPLE_ROWS: Final = 100_000  # to understand the columns
DELIMITERS: Final = (";", "\t", ",", "|", WHITESPACE)
SHEET, ALL_SHEETS = "sheet", "all of them"
_NO_TABLE: Final = Template(
    "guess.look.no_table", "no table that can be recognised: most lines need the same number of cells, with numbers"
)
_NO_ROW: Final = Template("guess.look.no_row", "no row of numbers with a time was found in the first {n} lines")
_ODD_SHEET: Final = Template("guess.look.sheet", "sheet: expected one of {names}, got '{answer}'")
_BINARY: Final = Template("guess.look.binary", "no text")
_ODD_ENCODING: Final = Template("guess.look.encoding", "cannot be read as {encoding}: {problem}")
_LONG_LINE: Final = Template("guess.look.long_line", "a line is longer than {n} characters")
_TWO_READINGS: Final = Template(
    "guess.look.comma",
    "line {n}: {names} names above rows of {cells} cells; a decimal comma in a table that is separated by commas has "
    "two readings: export it with semicolons",
)
_ODD_LINE: Final = Template(
    "guess.look.odd_line",
    "line {n} is a row of data with {cells} cells, and most rows have {usual}; a decimal comma makes two cells of one "
    "number: correct this line and import the file again",
)
_TAILED: Final = re.compile(DIGITS + r"([^\W\d]{1,12}|[%°‰][A-Z]?)")


@dataclass(frozen=True, slots=True)
class RawTable:
    """An unknown table as cells."""

    path: Path
    layout: Layout
    names: tuple[str, ...]
    units: dict[str, str]  # of columns whose unit stands in a row of its own
    above: tuple[str, ...]  # lines before the header, and what stands between it and the first row
    columns: dict[str, list[Any]]  # cells of at most SAMPLE_ROWS rows
    rows: int  # of them
    is_whole: bool  # there are no more
    titles: dict[str, str]  # of columns whose name stands in two lines, or cannot be their key
    tails: dict[str, str]  # of columns: what stood behind each number, such as %
    kinds: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # a column of one kind: the whole, by, kind
    written: dict[str, tuple[str, str]] = field(default_factory=dict)  # the column of units, and what it says
    sheets: tuple[str, ...] = ()  # of a workbook, those that hold a table
    joins: bool = False  # all of them have the same names of columns
    notes: dict[str, str] = field(default_factory=dict)  # of columns: what stands below their name, as it is
    day_zero: datetime | None = None  # from which a workbook counts plain numbers, where that is not 1899-12-30
    early: int = 0  # rows of data that stand before the names

    def title(self, column: str) -> str:
        """What a column is called."""
        return self.titles.get(column, column)

    def list_cells(self, column: str) -> list[Any]:
        """The cells of a column that say something."""
        return [c for c in self.columns[column] if c is not None and not is_no_value(str(c))]


def read_raw_table(path: Path, sheet: str = "") -> RawTable:
    """Find out how a file is laid out; raises ConfigError where it is no table that can be recognised.

    `sheet` is the worksheet of a workbook, or `ALL_SHEETS`; "": the first that holds a table.
    """
    suffix = path.suffix.lower()
    if suffix in {".parquet", ".pq"}:
        return _read(path, Layout(), (), {})
    if suffix in WORKBOOKS:
        return _read_workbook(path, sheet)
    if is_campbell(path):
        return _read(path, Layout(), (), {n: u for n, text in read_units(path).items() if (u := _unit(text))})
    encoding = _find_encoding(path)
    if not encoding.startswith("utf-16") and (known_form := describe_known(path)):
        raise ConfigError(LABELLED_TEXT(name=str(path), text=known_form))
    lines = _read_lines(path, encoding)
    best, found = 0.0, None
    for delimiter in DELIMITERS:
        cells = _split(lines, delimiter)
        if (score := _score(cells)) > best:
            best, found = score, (Layout(delimiter, encoding=encoding), cells)
    if found is None or best < LEAST_SCORE:
        starts = _find_starts(lines)
        layout = Layout(WHITESPACE, encoding=encoding, starts=starts)
        cells = [layout.split(line) for line in lines] if starts else []
        if not starts or _score(cells) < LEAST_SCORE:
            raise ConfigError(LABELLED_TEXT(name=str(path), text=_NO_TABLE()))
        found = layout, cells
    return _place(path, found[1], found[0])


LEAST_SCORE: Final = 0.5


def _read_workbook(path: Path, sheet: str) -> RawTable:
    heads = {
        name: [[_text(cell) for cell in row] for row in rows]
        for name, rows in read_workbook(path, head=SCAN_LINES).items()
    }
    # a cover, notes and diagrams are no tables
    tables = {
        name: cells for name, cells in heads.items() if (first := _first_row(cells)) is not None and cells[first:]
    }
    if not tables:
        raise ConfigError(LABELLED_TEXT(name=str(path), text=_NO_ROW(n=SCAN_LINES)))
    names = {tuple(cells[max(0, (_first_row(cells) or 0) - 1)]) for cells in tables.values()}
    if sheet and sheet != ALL_SHEETS and sheet not in tables:
        raise ConfigError(LABELLED_TEXT(name=str(path), text=_ODD_SHEET(names=NameList(tuple(tables)), answer=sheet)))
    read = tuple(tables) if sheet == ALL_SHEETS else (sheet or next(iter(tables)),)
    is_first = len(read) == 1 and read[0] == next(iter(heads))
    table = _place(path, tables[read[0]], Layout(sheets=() if is_first else read))
    return replace(table, sheets=tuple(tables), joins=len(tables) > 1 and len(names) == 1, day_zero=find_day_zero(path))


def _is_data(text: str) -> bool:
    return is_plain(text) or _tail_of(text) != ""


def _tail_of(text: str) -> str:
    """The unit behind a number; "" where there is none."""
    found = _TAILED.fullmatch(text)
    return found[1] if found is not None and read_unit(found[1]) is not None else ""


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _find_encoding(path: Path) -> str:
    """UTF-8 and UTF-16 show themselves; else double bytes of Chinese, or Western Europe."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise ConfigError(LABELLED_TEXT(name=str(path), text=UNREADABLE_FILE(problem=error.strerror or ""))) from None
    if not head:
        raise ConfigError(LABELLED_TEXT(name=str(path), text=EMPTY_FILE()))
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "utf-16"
    if bare := find_bare_utf_16(head):
        return bare
    head = strip_zeros(head)
    if b"\0" in head:
        raise ConfigError(LABELLED_TEXT(name=str(path), text=describe_known(path) or _BINARY()))
    for cut in range(4):  # the last character may be torn
        try:
            head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return "utf-8-sig"
    pairs = sum(len(run) // 2 * 2 for run in re.findall(rb"[\x81-\xfe]+", head))
    loose = sum(len(run) for run in re.findall(rb"[\x80-\xff]+", head)) - pairs
    try:
        head[: head.rfind(b"\n") + 1].decode("gb18030")
    except UnicodeDecodeError:
        return "cp1252"
    return "gb18030" if pairs > 4 * loose else "cp1252"


def _read_lines(path: Path, encoding: str) -> list[str]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            raw_lines = islice(iter(lambda: file.readline(LINE_LIMIT), ""), SCAN_LINES)
            lines = [line.rstrip("\r\n").lstrip("\0") for line in raw_lines]
    except UnicodeError as error:
        text = _ODD_ENCODING(encoding=encoding, problem=str(error))
        raise ConfigError(LABELLED_TEXT(name=str(path), text=text)) from None
    if any(len(line) >= LINE_LIMIT for line in lines):
        raise ConfigError(LABELLED_TEXT(name=str(path), text=_LONG_LINE(n=Figure(LINE_LIMIT, "d"))))
    return lines


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == WHITESPACE:
        return [line.split() for line in lines]
    try:
        reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
        return _fill(_cut_surplus([[cell.strip() for cell in row] for row in reader]))
    except csv.Error:
        return []


def _cut_surplus(cells: list[list[str]]) -> list[list[str]]:
    """Cut the empty cells that commas at the end of a line make beyond the columns of the table."""
    filled = [row for row in cells if any(row)]
    width = _usual_width(cells) or 0
    while width > 1 and not any(len(row) >= width and row[width - 1] for row in filled):
        width -= 1
    return [row[:width] if width and not any(row[width:]) else row for row in cells]


def _fill(cells: list[list[str]]) -> list[list[str]]:
    """Rows as wide as the names above them: some loggers write no empty cells at the end of a line."""
    names = next((row for row in cells[:HEAD_LINES] if len(row) > 1 and not any(map(_is_data, row))), [])
    if any(len(row) > len(names) for row in cells):
        return cells
    return [row + [""] * (len(names) - len(row)) if len(row) > 1 else row for row in cells]


def _score(cells: Sequence[Sequence[str]]) -> float:
    """Share of the lines that have as many cells as most, times the share of their cells that are data."""
    body = [row for row in cells if any(row)]
    body = body[min(len(body) // 3, 30) :]  # the head of a file is made otherwise
    if not body:
        return 0.0
    width, same = Counter(len(row) for row in body).most_common(1)[0]
    if width < 2:
        return 0.0
    inside = [cell for row in body if len(row) == width for cell in row if cell]
    first = _first_row(cells)
    header_fits = not first or _header_of(cells, first) is not None
    share = sum(_is_data(cell) for cell in inside) / max(1, len(inside))
    # a station's name among numbers is no reason to doubt a delimiter
    return same / len(body) * min(1.0, 0.4 + share) * (1.0 if header_fits else 0.6)


def _first_row(cells: Sequence[Sequence[str]]) -> int | None:
    cells = _cut_part(cells)
    if (width := _usual_width(cells)) is None:
        return None
    timed = _find_timed([row for row in cells if len(row) == width])
    for index, row in enumerate(cells):
        if index and len(row) == width and timed and not any(_is_time(row[k]) for k in timed):
            continue  # serial numbers or factors below the names
        if names_rise(row) and any(one and is_plain(one[0]) for one in cells[index + 1 : index + 2]):
            continue  # depths, or the numbers of instruments
        ahead = [r for r in cells[index : index + 5] if any(r)][:3]
        if len(row) == width and all(len(r) == width and _is_row(r) for r in ahead):
            return index
    return None


def _usual_width(cells: Sequence[Sequence[str]]) -> int | None:
    full = [len(row) for row in cells if any(row)]
    return Counter(full[min(len(full) // 3, 30) :]).most_common(1)[0][0] if full else None


def _cut_part(cells: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """The lines before the names come again, maybe in another order."""
    seen: set[frozenset[str]] = set()
    for index, row in enumerate(cells):
        names = frozenset(cell for cell in row if cell)
        if len(names) > 1 and not any(map(_is_data, names)):
            if names in seen and any(map(_is_row, cells[:index])):
                return cells[:index]
            seen.add(names)
    return cells


def _find_timed(rows: Sequence[Sequence[str]]) -> list[int]:
    return [k for k, column in enumerate(zip(*rows, strict=True)) if 2 * sum(map(_is_time, column)) > len(column)]


def _is_time(text: str) -> bool:
    return is_time(text) and (not is_number(text) or text.count(".") > 1)  # 03.02.2025 is a number with thousands, too


def _is_row(row: Sequence[str]) -> bool:
    full = [cell for cell in row if cell]
    times = sum(map(is_time, full))
    if times and sum(map(is_number, full)) and times != len(full):
        return True  # words of people may stand beside: weather, names, remarks
    return any(is_number(c) or is_time(c) for c in full) and sum(map(_is_data, full)) >= 0.5 * len(full)


def _find_names_behind(cells: Sequence[Sequence[str]]) -> int | None:
    """The first row of data below names that stand among rows of data: the file begins in the middle of a part."""
    width = len(cells[0])
    at = next((k for k, row in enumerate(cells) if len(row) == width and all(row) and _names_time(row)), None)
    below = None if at is None else _first_row(cells[at + 1 :])
    return None if at is None or below is None else at + 1 + below


def _names_time(row: Sequence[str]) -> bool:
    return any(map(TIME_COLUMN_NAME.search, row)) and not any(is_plain(cell) for cell in row if cell)


def _header_of(cells: Sequence[Sequence[str]], first: int) -> int | None:
    """The line of names above the first row of data: the first of the block of lines as wide as the data."""
    width = len(cells[first])
    if cells[0][:1] == ["TOA5"] and first > 1 and len(cells[1]) == width:
        return 1  # below stand units, and how each was processed: of a table with one sensor a line of one word
    at = None
    for index in range(first - 1, -1, -1):
        row = cells[index]
        while row and not row[-1] and len(row) > width:
            row = row[:-1]
        if at is None and (not any(row) or (len(row) < width and all(_unit(cell) for cell in row if cell))):
            continue  # a blank line below the names, or units of columns that are not known, where blanks part them
        few = sum(map(bool, row)) < min(2, width) and not (width > 1 and all(row[1:]))  # an index without a name
        if not (len(row) == width and row[0].upper() != "TOA5" and not few and not is_annotation(row)):
            break
        at = index
    return at


def _find_starts(lines: Sequence[str]) -> tuple[int, ...]:
    """Where columns of fixed width begin: after characters that are blank in every line."""
    body = [line for line in lines if line.strip()]
    body = body[min(len(body) // 3, 30) :]
    longest = max((len(line) for line in body), default=0)
    blank = [all(k >= len(line) or line[k] == " " for line in body) for k in range(longest)]
    return tuple(k for k in range(longest) if not blank[k] and (k == 0 or blank[k - 1]))


def _place(path: Path, cells: list[list[str]], layout: Layout) -> RawTable:
    first = _require_first_row(path, cells)
    header = _header_of(cells, first)
    if header is None:
        return _place_without_names(path, cells, layout, first)
    _refuse_odd_lines(path, cells, range(header + 1, first), first)
    block = [k for k in range(header, first) if any(cells[k])]
    # above it stand words of the whole file, or groups; as wide as they, it is the first that names a time
    header = max(block, key=lambda k: (sum(map(bool, cells[k])), _names_time(cells[k])))
    names = name_columns(cells[header])
    keys = _name_keys(names, cells[first:])
    if keys is names:
        layout = replace(layout, skip_rows=header, skip_after=first - header - 1)
    else:
        layout = replace(layout, header=False, skip_rows=first, skip_after=0)
    own = cells[header] if keys is names else keys
    named_twice = len(set(filter(None, own))) < sum(map(bool, own))
    titles: dict[str, str] = {}
    if keys is not names or named_twice or _is_continued(cells, block, header):
        lines = [k for k in block if k >= header - 1 and (not _is_units(cells[k]) or _goes_on(cells[k]))]
        joined = _join_names(cells, lines, header)
        titles = {k: text for k, text, plain in zip(keys, joined, own, strict=True) if k and text not in {"", plain}}
    below = [cells[k] for k in block if k > header]
    units, notes = _read_below([r for r in below if layout.delimiter != WHITESPACE or len(r) >= len(keys)], keys)
    table = _read(path, layout, _above([*cells[:header], *cells[header + 1 : first]]), units, titles)
    return replace(table, notes=notes)


def _refuse_odd_lines(path: Path, cells: Sequence[Sequence[str]], lines: Iterable[int], first: int) -> None:
    """Refuse rows of data that would be passed over because they have more or fewer cells; raises ConfigError."""
    width = len(cells[first])
    timed = _find_timed([row for row in cells if len(row) == width])
    for index in lines:
        row = cells[index]
        if len(row) == width or not any(row):
            continue
        has_time = any(column < len(row) and _is_time(row[column]) for column in timed)
        has_number = any(is_number(cell) for cell in row)
        if (has_time and has_number) or (not timed and len(row) > 1 and all(is_number(cell) for cell in row if cell)):
            raise ConfigError(LABELLED_TEXT(name=str(path), text=_ODD_LINE(n=index + 1, cells=len(row), usual=width)))


def _require_first_row(path: Path, cells: Sequence[Sequence[str]]) -> int:
    """Where the data begin, below names that stand among them where the file begins in the middle of a part."""
    if (first := _first_row(cells)) is None:
        raise ConfigError(LABELLED_TEXT(name=str(path), text=_NO_ROW(n=SCAN_LINES)))
    return first or _find_names_behind(cells) or 0


def _place_without_names(path: Path, cells: Sequence[Sequence[str]], layout: Layout, first: int) -> RawTable:
    above = cells[first - 1] if first else []
    if layout.delimiter == "," and 1 < len(above) < len(cells[first]):
        two_readings = _TWO_READINGS(n=first, names=len(above), cells=len(cells[first]))
        raise ConfigError(LABELLED_TEXT(name=str(path), text=two_readings))
    _refuse_odd_lines(path, cells, range(first), first)
    layout = Layout(layout.delimiter, first, layout.encoding, header=False, starts=layout.starts)
    return _read(path, layout, _above(cells[:first]), {})


def _name_keys(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Sequence[str]:
    filled = (any(at < len(row) and row[at] for row in rows) for at in range(len(names)))
    nameless = any(there and not name for there, name in zip(filled, names, strict=True))
    return [str(k) for k in range(1, len(names) + 1)] if nameless else names


def _read_below(rows: Iterable[Sequence[str]], keys: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """What lines below the names say of the columns: units, and anything else."""
    units: dict[str, str] = {}
    notes: dict[str, str] = {}
    for row in rows:
        for name, cell in zip(keys, row, strict=False):
            if name and (unit := _unit(cell)):
                units[name] = unit
            elif name and cell:
                notes[name] = cell
    return units, notes


def _is_units(row: Sequence[str]) -> bool:
    full = [cell for cell in row if cell]
    return 2 * sum(_unit(cell) is not None for cell in full) >= len(full)


def _is_continued(cells: Sequence[Sequence[str]], block: Sequence[int], header: int) -> bool:
    """Whether the names go on in another line: below them what is measured, or above them a station for each column."""
    if any(_goes_on(cells[k]) for k in block if k > header):
        return True
    first, *above = cells[header - 1][: len(cells[header])] if header - 1 in block else [""]
    if first and not is_station_column(first):
        return False
    return bool(above) and all(above) and len(set(above)) > 1 and not any(map(_is_data, above))


def _goes_on(row: Sequence[str]) -> bool:
    """Whether a line below the names says more of a column than a unit: a quantity, a name with its unit, an error."""
    words = [cell for cell in row[1:] if cell and _unit(cell) is None]
    meanings = [read_name(cell, None) for cell in words]
    has_units = any(unit_of_header(cell) is not None for cell in words)
    return has_units or any(meaning.quantity is not None or meaning.is_error for meaning in meanings)


def _join_names(cells: Sequence[Sequence[str]], lines: Sequence[int], header: int) -> list[str]:
    """The names of columns that stand in several lines; one above the names is that of a group of columns."""
    joined: list[list[str]] = [[] for _ in cells[header]]
    for k in lines:
        group = ""
        for at, cell in enumerate(cells[k][: len(joined)]):
            group = cell or (group if k < header else "")
            if group and (k == header or any(sign.isalpha() for sign in group)):
                joined[at].append(group)
    return [" ".join(dict.fromkeys(parts)) for parts in joined]


def _unit(text: str) -> str | None:
    """A unit that is known, or the word for a reading as the sensor gives it."""
    bare = text.strip("[]() ")
    return read_unit(text) or (bare if is_raw(bare) else None)


def _above(cells: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(" ".join(c for c in row if c) for row in cells if any(row))


def _read(
    path: Path, layout: Layout, above: tuple[str, ...], units: dict[str, str], titles: dict[str, str] | None = None
) -> RawTable:
    titles = titles or {}
    with open_rows(path, layout) as (names, rows):
        columns: dict[str, list[Any]] = {name: [] for name in names}
        count = early = 0
        for row in islice(rows, SAMPLE_ROWS):
            if BEFORE_HEADER in row:
                early += 1
                continue
            count += 1
            for name in names:
                cell = row.get(name)
                columns[name].append(cell.strip() if isinstance(cell, str) else cell)
        is_whole = next(rows, None) is None
    tails = {}
    for name in names:
        if tail := _find_tail(columns[name]):
            unit = read_unit(tail)
            if unit is None or (units.get(name) or unit_of_header(titles.get(name, name)) or unit) != unit:
                continue
            tails[name], units[name] = tail, unit
            columns[name] = [c.removesuffix(tail).rstrip() if isinstance(c, str) else c for c in columns[name]]
    return RawTable(path, layout, tuple(names), units, above, columns, count, is_whole, titles, tails, early=early)


def _find_tail(cells: Sequence[Any]) -> str:
    filled = [*islice((c for c in cells if isinstance(c, str) and not is_no_value(c)), SCAN_LINES)]
    found = Counter(tail for c in filled if (tail := _tail_of(c)))
    tail, count = found.most_common(1)[0] if found else ("", 0)
    return tail if count >= 0.8 * len(filled) else ""
