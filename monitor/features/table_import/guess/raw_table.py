"""An unknown table as named columns of cells."""

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
    WHITESPACE,
    WORKBOOKS,
    Layout,
    find_day_zero,
    is_campbell,
    is_number,
    name_columns,
    open_rows,
    read_unit,
    read_units,
    read_workbook,
    unit_of_header,
)
from monitor.api.readings import is_no_value
from monitor.api.text import LABELLED_TEXT, NameList, Template
from monitor.features.table_import.guess.table_head import (
    Cells,
    are_names_continued,
    extends_names,
    find_first_row,
    find_header,
    find_row_below_names,
    find_tail,
    find_timed_columns,
    find_unit,
    is_timed_row,
    is_unit_row,
    join_names,
    names_time,
    read_lines_below_names,
)
from monitor.features.table_import.guess.text_lines import SCAN_LINES, read_cells

SAMPLE_ROWS: Final = 100_000  # by which the columns are understood
SHEET: Final = "sheet"
ALL_SHEETS: Final = "all of them"
_TAILED_LEAST: Final = 0.8  # share of the cells that have a unit behind their number
_NO_ROW: Final = Template("guess.look.no_row", "no row of numbers with a time was found in the first {n} lines")
_ODD_SHEET: Final = Template("guess.look.sheet", "sheet: expected one of {names}, got '{answer}'")
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
_STRAY_LINE: Final = Template(
    "guess.look.stray_line",
    "line {n} is a row of data, but line {next} below it is not: move line {next} above the names or remove it, and "
    "import the file again",
)


@dataclass(frozen=True, slots=True)
class RawTable:
    """An unknown table as cells.

    A column has a key and a heading. The key is the name by which the mapping and the reader find the column. It is the
    line of names in the file, or a number if that line does not name every column. The heading is the text that people
    wrote above the column, which may have two lines. `heading` returns it for a key; most keys are their own heading.

    Attributes:
        path: The file.
        layout: How its lines are divided into cells.
        keys: The keys of the columns, in order.
        units: The unit of each column that has one outside its heading: in a row, a line or a column of units, behind
            each number, or in the header of a logger.
        above: The lines before the names, and those between the names and the first row.
        columns: The cells of each column by its key, of at most `SAMPLE_ROWS` rows.
        rows: The number of these rows.
        is_whole: Whether the file has no more rows.
        headings: The headings of columns whose heading differs from their key.
        tails: The text behind each number of a column, such as %.
        kinds: For a column that contains one of several quantities: the whole column, the column of kinds, the kind.
        written: For a column with a unit in each row: the column of units, and the unit.
        sheets: The sheets of a workbook that contain a table.
        joins: Whether all of these sheets have the same columns.
        notes: Texts below the names of columns.
        day_zero: The day zero of the dates of a workbook, if it is not 1899-12-30.
        early: The number of rows of data before the names.
    """

    path: Path
    layout: Layout
    keys: tuple[str, ...]
    units: dict[str, str]
    above: tuple[str, ...]
    columns: dict[str, list[Any]]
    rows: int
    is_whole: bool
    headings: dict[str, str]
    tails: dict[str, str]
    kinds: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    written: dict[str, tuple[str, str]] = field(default_factory=dict)
    sheets: tuple[str, ...] = ()
    joins: bool = False
    notes: dict[str, str] = field(default_factory=dict)
    day_zero: datetime | None = None
    early: int = 0

    def heading(self, column: str) -> str:
        """Return the heading of a column."""
        return self.headings.get(column, column)

    def list_cells(self, column: str) -> list[Any]:
        """Return the cells of a column that contain a value."""
        return [cell for cell in self.columns[column] if cell is not None and not is_no_value(str(cell))]


def read_raw_table(path: Path, sheet: str = "") -> RawTable:
    """Read the first rows of an unknown table.

    Args:
        path: A text file, workbook, Parquet file, or file of a Campbell logger.
        sheet: The worksheet of a workbook, or `ALL_SHEETS`; "" for the first that contains a table.

    Raises:
        ConfigError: The file is not a table that can be recognised.
    """
    suffix = path.suffix.lower()
    if suffix in {".parquet", ".pq"}:
        return _read_columns(path, Layout(), (), {})
    if suffix in WORKBOOKS:
        return _read_workbook(path, sheet)
    if is_campbell(path):
        units = {name: unit for name, text in read_units(path).items() if (unit := find_unit(text))}
        return _read_columns(path, Layout(), (), units)
    layout, cells = read_cells(path)
    return _locate_data(path, cells, layout)


def _read_workbook(path: Path, sheet: str) -> RawTable:
    """Read the sheets of a workbook that contain a table: covers, notes and diagrams contain none."""
    heads = {
        name: [["" if cell is None else str(cell).strip() for cell in row] for row in rows]
        for name, rows in read_workbook(path, head=SCAN_LINES).items()
    }
    first_rows = {name: find_first_row(cells) for name, cells in heads.items()}
    tables = {name: first for name, first in first_rows.items() if first is not None}
    if not tables:
        raise _refuse(path, _NO_ROW(n=SCAN_LINES))
    if sheet and sheet != ALL_SHEETS and sheet not in tables:
        raise _refuse(path, _ODD_SHEET(names=NameList(tuple(tables)), answer=sheet))
    sheets = tuple(tables) if sheet == ALL_SHEETS else (sheet or next(iter(tables)),)
    is_first = len(sheets) == 1 and sheets[0] == next(iter(heads))
    table = _locate_data(path, heads[sheets[0]], Layout(sheets=() if is_first else sheets))
    names = {tuple(heads[name][max(0, first - 1)]) for name, first in tables.items()}
    have_same_names = len(tables) > 1 and len(names) == 1
    return replace(table, sheets=tuple(tables), joins=have_same_names, day_zero=find_day_zero(path))


def _locate_data(path: Path, cells: Cells, layout: Layout) -> RawTable:
    """Find the names and the data, and read the columns."""
    first = find_first_row(cells)
    if first is None:
        raise _refuse(path, _NO_ROW(n=SCAN_LINES))
    if not first:  # the file may begin in the middle of a part, with the names behind the first rows
        first = find_row_below_names(cells) or 0
    header = find_header(cells, first)
    if header is None:
        return _place_without_names(path, cells, layout, first)
    _refuse_odd_lines(path, cells, range(header + 1, first), first)
    # The names are the fullest line of the block: above it are words of the whole file, or groups of columns. Of lines
    # as full, the first that names a time.
    block = [line for line in range(header, first) if any(cells[line])]
    header = max(block, key=lambda line: (sum(map(bool, cells[line])), names_time(cells[line])))
    _refuse_stray_lines(path, cells, range(header + 1, first), first)
    names = name_columns(cells[header])
    keys = _name_keys(names, cells[first:])
    has_keys = keys is names
    if has_keys:
        layout = replace(layout, skip_rows=header, skip_after=first - header - 1)
    else:
        layout = replace(layout, header=False, skip_rows=first, skip_after=0)
    headings = _find_headings(cells, block, header, keys, has_keys=has_keys)
    below = [cells[line] for line in block if line > header]
    aligned = [row for row in below if layout.delimiter != WHITESPACE or len(row) >= len(keys)]
    units, notes = read_lines_below_names(aligned, keys)
    above = _join_lines([*cells[:header], *cells[header + 1 : first]])
    return replace(_read_columns(path, layout, above, units, headings), notes=notes)


def _find_headings(
    cells: Cells, block: Sequence[int], header: int, keys: Sequence[str], *, has_keys: bool
) -> dict[str, str]:
    """Return the names of columns that differ from their keys."""
    own = cells[header] if has_keys else keys
    has_same_names = len(set(filter(None, own))) < sum(map(bool, own))
    if has_keys and not has_same_names and not are_names_continued(cells, block, header):
        return {}
    lines = [
        line for line in block if line >= header - 1 and (not is_unit_row(cells[line]) or extends_names(cells[line]))
    ]
    joined = join_names(cells, lines, header)
    return {key: text for key, text, name in zip(keys, joined, own, strict=True) if key and text not in {"", name}}


def _refuse_odd_lines(path: Path, cells: Cells, lines: Iterable[int], first: int) -> None:
    """Raise ConfigError for rows of data that would be skipped because they have more or fewer cells."""
    width = len(cells[first])
    has_times = bool(find_timed_columns([row for row in cells if len(row) == width]))
    for index in lines:
        row = cells[index]
        is_untimed_row = not has_times and len(row) > 1 and all(is_number(cell) for cell in row if cell)
        if len(row) != width and any(row) and (is_timed_row(row) or is_untimed_row):
            raise _refuse(path, _ODD_LINE(n=index + 1, cells=len(row), usual=width))


def _refuse_stray_lines(path: Path, cells: Cells, lines: Iterable[int], first: int) -> None:
    """Raise ConfigError for rows of data that would be skipped because units or other words are below them."""
    width = len(cells[first])
    for index in lines:
        if len(cells[index]) == width and is_timed_row(cells[index]):
            raise _refuse(path, _STRAY_LINE(n=index + 1, next=index + 2))


def _place_without_names(path: Path, cells: Cells, layout: Layout, first: int) -> RawTable:
    """Read a table without names; its columns are numbered."""
    above = cells[first - 1] if first else []
    if layout.delimiter == "," and 1 < len(above) < len(cells[first]):
        raise _refuse(path, _TWO_READINGS(n=first, names=len(above), cells=len(cells[first])))
    _refuse_odd_lines(path, cells, range(first), first)
    layout = Layout(layout.delimiter, first, layout.encoding, header=False, starts=layout.starts)
    return _read_columns(path, layout, _join_lines(cells[:first]), {})


def _name_keys(names: Sequence[str], rows: Cells) -> Sequence[str]:
    """Return the names as keys; numbers if a column with cells has no name."""
    filled = [any(place < len(row) and row[place] for row in rows) for place in range(len(names))]
    has_nameless = any(is_filled and not name for is_filled, name in zip(filled, names, strict=True))
    return [str(number) for number in range(1, len(names) + 1)] if has_nameless else names


def _join_lines(cells: Cells) -> tuple[str, ...]:
    return tuple(" ".join(cell for cell in row if cell) for row in cells if any(row))


def _read_columns(
    path: Path, layout: Layout, above: tuple[str, ...], units: dict[str, str], headings: dict[str, str] | None = None
) -> RawTable:
    """Read the columns by the reader that stores them later."""
    headings = headings or {}
    with open_rows(path, layout) as (names, rows):
        columns: dict[str, list[Any]] = {name: [] for name in names}
        count = 0
        early = 0
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
        tail = _find_common_tail(columns[name])
        unit = read_unit(tail) if tail else None
        if unit is None or (units.get(name) or unit_of_header(headings.get(name, name)) or unit) != unit:
            continue
        tails[name] = tail
        units[name] = unit
        columns[name] = [c.removesuffix(tail).rstrip() if isinstance(c, str) else c for c in columns[name]]
    return RawTable(path, layout, tuple(names), units, above, columns, count, is_whole, headings, tails, early=early)


def _find_common_tail(cells: Sequence[Any]) -> str:
    """Return the text behind the numbers of most cells; "" if there is none."""
    texts = (cell for cell in cells if isinstance(cell, str) and not is_no_value(cell))
    filled = list(islice(texts, SCAN_LINES))
    tails = Counter(tail for text in filled if (tail := find_tail(text)))
    if not tails:
        return ""
    tail, count = tails.most_common(1)[0]
    return tail if count >= _TAILED_LEAST * len(filled) else ""


def _refuse(path: Path, text: str) -> ConfigError:
    return ConfigError(LABELLED_TEXT(name=str(path), text=text))
