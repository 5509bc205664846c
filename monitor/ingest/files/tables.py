"""Rows of text files, workbooks and Parquet files, one at a time: no file is loaded as a whole."""

import atexit
import csv
import io
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice, pairwise
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, Final, TextIO, cast

from monitor.errors import ConfigError, PayloadError
from monitor.extras import require
from monitor.ingest.files.campbell import is_campbell
from monitor.ingest.files.campbell import read_rows as campbell_rows
from monitor.ingest.text.heads import HEAD_MOST, Heads, Numbered, is_annotation, list_early
from monitor.text.message import LABELLED_TEXT, Figure, Template
from monitor.text.reasons import describe_error

SUFFIXES: Final = (".csv", ".txt", ".parquet", ".pq")
WORKBOOKS: Final = (".xlsx", ".xlsm")
WIDE_SUFFIXES: Final = (*SUFFIXES, ".tsv", ".dat", *WORKBOOKS)
# Keys of a row besides the names of columns, which are never empty and contain no control characters.
SURPLUS: Final = ""  # cells beyond the last column: a decimal comma makes two cells of one number
BEFORE_HEADER: Final = "\n"  # the line of a row above the names of the columns, and the line of the names
TORN: Final = "\0"  # the last row seems to be cut
_NUMBER: Final = re.compile(r"[+-]?\d+(?:[.,](\d*))?")
_TAIL_BYTES: Final = 1 << 16
_TORN_ROW: Final = Template(
    "file.row.torn",
    "the last line has no end, and its last number fewer decimals than those above: is it whole? Then end the line",
)
_EARLY: Final = Template(
    "file.row.early", "line {n} is a row of data before the names of the columns in line {names}; is skip_rows right?"
)
_NO_TABLE: Final = Template("file.table", "cannot be read as a table: {problem}")
LINE_LIMIT: Final = 1 << 20  # characters; a point with 300 acquisitions has 5,000
BATCH_ROWS: Final = 1000
BATCH_BYTES: Final = 64 << 20
SPOOL_BYTES: Final = 64 << 20
NUMBERS_LEAST: Final = 5  # from which the decimals of a column are known
WHITESPACE: Final = "whitespace"  # as a delimiter: one or more blanks
Row = dict[str, Any]


def list_files(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """Return the file itself, or the tables of a folder sorted by name.

    Raises:
        ConfigError: The file does not exist, it is a pipe, or the folder contains no table.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
        if not files:
            raise ConfigError(f"{path}: no file with {', '.join(suffixes)} in this folder")
        return files
    if not path.exists() and str(path) != "-":
        raise ConfigError(f"{path}: no such file")
    if not path.is_file() and str(path) != "-":  # a file is read twice, and a pipe is empty the second time
        raise ConfigError(f"{path}: no ordinary file; send a pipe to standard input and give - as the file")
    return [path]


def require_columns(path: Path, names: Sequence[str], needed: Sequence[str], also: str) -> None:
    """Check that a table has the columns of its form.

    Args:
        path: The file.
        names: The columns of the table.
        needed: The columns that it must have.
        also: What it may have besides, for the message.

    Raises:
        ConfigError: A column is missing.
    """
    absent = [name for name in needed if name not in names]
    if absent:
        raise ConfigError(f"{path}: column {absent[0]!r} is missing; expected {', '.join(needed)} {also}")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines of a table are divided into cells.

    Attributes:
        delimiter: One character, or `whitespace` for one or more blanks.
        skip_rows: Lines before the header.
        encoding: The encoding of a text file.
        header: Whether the table has names of columns. Without names, columns are named "1", "2", ...
        skip_after: Lines between the header and the first row.
        starts: First characters of columns of fixed width; then `delimiter` has no effect.
        sheets: The sheets of a workbook, read one after the other; none: the first visible sheet.
    """

    delimiter: str = ","
    skip_rows: int = 0
    encoding: str = "utf-8-sig"
    header: bool = True
    skip_after: int = 0
    starts: tuple[int, ...] = ()
    sheets: tuple[str, ...] = ()

    def split(self, line: str) -> list[str]:
        """Return the cells of a line that is delimited by blanks or has fixed widths."""
        if self.starts:
            ends = (*self.starts[1:], None)
            return [line[start:end].strip() for start, end in zip(self.starts, ends, strict=True)]
        return line.split()


@contextmanager
def open_rows(path: Path, layout: Layout = Layout()) -> Iterator[tuple[list[str], Iterator[Row]]]:
    """Open a table; yield the names of its columns and an iterator over its rows.

    Cells of text files are texts, those of Parquet files and workbooks have types. The second column with a name has
    the name `NAME#2`.

    Raises:
        ConfigError: The file cannot be read as a table; one line.
    """
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            with _open_parquet(path) as names_and_rows:
                yield names_and_rows
        elif path.suffix.lower() in WORKBOOKS:
            yield _open_workbook(path, layout)
        elif is_campbell(path):
            with path.open("rb") as file:
                names, rows = campbell_rows(path, file)
                yield names, _mark_torn(rows, path, layout)
        elif str(path) == "-":
            yield _read_text(_rewind_stdin(), path, layout)
        else:
            with path.open(encoding=layout.encoding, newline="") as lines:
                names, rows = _read_text(lines, path, layout)
                yield names, _mark_torn(rows, path, layout)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(LABELLED_TEXT(name=str(path), text=_NO_TABLE(problem=str(error)))) from None


def _mark_torn(rows: Iterator[Row], path: Path, layout: Layout) -> Iterator[Row]:
    """Yield the rows, the last one with `TORN` if it seems to be cut.

    It seems to be cut if its line has no end and its last number has fewer decimals than all others of its column.
    """
    if not _is_last_line_short(path, layout):
        yield from rows
        return
    for row, next_row in pairwise(chain(rows, [None])):
        if row is not None:
            yield row if next_row is not None else row | {TORN: True}


def _is_last_line_short(path: Path, layout: Layout) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(layout.encoding, errors="replace").splitlines(keepends=True)
    if not lines or lines[-1].endswith(("\n", "\r")):
        return False
    delimiter = None if layout.delimiter == WHITESPACE else layout.delimiter
    cells = [line.rsplit(delimiter, 1)[-1].strip(' "\r\n') if line.strip() else "" for line in lines]
    *above, last = [_NUMBER.fullmatch(cell) for cell in cells]
    decimals = [len(number[1] or "") for number in above if number]
    return last is not None and len(decimals) >= NUMBERS_LEAST and len(last[1] or "") < min(decimals)


def read_workbook(path: Path, sheets: Sequence[str] = (), head: int | None = None) -> dict[str, list[list[Any]]]:
    """Return the rows of visible worksheets by their name.

    Dates are ISO 8601 texts without a zone; percentages are as the workbook shows them.

    Args:
        path: The workbook.
        sheets: The worksheets; none: the first, or all if `head` is given.
        head: The number of first rows; None: all rows.

    Raises:
        ConfigError: The file is not a workbook, it is larger than the limits, or it has no such sheet.
    """
    from forecasting.data.workbook import read_sheets
    from forecasting.errors import RecipeError

    try:
        return read_sheets(path, sheets, first=head is None and not sheets, rows=head, as_shown=True)
    except RecipeError as error:
        raise ConfigError(describe_error(error)) from None


def find_day_zero(path: Path) -> datetime | None:
    """Return the day from which a workbook counts dates as numbers; None for 1899-12-30 and for other files."""
    if path.suffix.lower() not in WORKBOOKS:
        return None
    from forecasting.data.workbook import read_day_zero

    begin = datetime.fromisoformat(read_day_zero(path)).replace(tzinfo=UTC)
    return None if begin.year < 1904 else begin


def _open_workbook(path: Path, layout: Layout) -> tuple[list[str], Iterator[Row]]:
    """Return the rows of the sheets, one sheet after the other; all have the columns of the first."""
    sheets = read_workbook(path, layout.sheets)
    tables = {name: _name_rows(enumerate(rows, 1), path, layout) for name, rows in sheets.items()}
    if not tables:
        raise ConfigError(f"{path}: no visible sheet")
    first, (names, _) = next(iter(tables.items()))
    for sheet, (sheet_names, _) in tables.items():
        if sheet_names != names:
            raise ConfigError(f"{path}: sheet {sheet!r} has other columns than {first!r}: import it on its own")
    return names, chain.from_iterable(rows for _, rows in tables.values())


def _rewind_stdin() -> TextIO:
    """Return standard input from its start; a pipe is copied, because an import reads its file twice."""
    if not sys.stdin.seekable():
        copy = SpooledTemporaryFile(SPOOL_BYTES, "w+", encoding="utf-8", newline="")  # noqa: SIM115 - as long as stdin
        atexit.register(copy.close)
        shutil.copyfileobj(sys.stdin, copy)
        sys.stdin = cast("TextIO", copy)
    sys.stdin.seek(0)
    return sys.stdin


def _read_text(text: TextIO, path: Path, layout: Layout) -> tuple[list[str], Iterator[Row]]:
    """Return the names of the columns of a text file, and its rows."""
    lines = limit_lines(text, path)
    if layout.starts or layout.delimiter == WHITESPACE:
        cells = (layout.split(line.rstrip("\r\n")) for line in lines)
        return _name_rows(enumerate(cells, 1), path, layout)
    # Lines above the names may contain quotation marks that are never closed, so each is split on its own.
    above = islice(lines, layout.skip_rows)
    skipped = [(number, _split_line(line, layout)) for number, line in enumerate(above, 1)]
    reader = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=True, strict=True)
    return _name_rows(chain(skipped, _walk_csv(reader, path, layout.skip_rows)), path, layout)


def _split_line(line: str, layout: Layout) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=layout.delimiter, skipinitialspace=True), [])
    except csv.Error:
        return [line]


def _name_rows(lines: Iterator[Numbered], path: Path, layout: Layout) -> tuple[list[str], Iterator[Row]]:
    """Return the names of the columns, and rows as cells by name.

    Rows of data above the names are first, with the key `BEFORE_HEADER`.
    """
    skipped = list(islice(lines, layout.skip_rows))
    filled = ((number, cells) for number, cells in lines if cells)
    head_number, head = next(
        ((number, cells) for number, cells in filled if not layout.header or not is_annotation(cells)), (0, [])
    )
    names = name_columns(head) if layout.header else [str(k) for k, _ in enumerate(head, start=1)]
    if not any(names):
        raise ConfigError(f"{path}: the file is empty")
    below = list(islice(lines, layout.skip_after))
    above_names = [cells for _, cells in skipped if not is_annotation(cells)]
    first_names = head if layout.header else max(above_names, key=_count_filled, default=[])
    above = [cells for _, cells in skipped[-HEAD_MOST:]]
    heads = Heads(str(path), first_names, above, [cells for _, cells in below[:HEAD_MOST]])
    data = lines if layout.header else chain([(head_number, head)], lines)
    data = heads.follow(data) if _count_filled(first_names) > 1 else data
    return [name for name in names if name], _name_each(names, data, skipped, head_number)


def _name_each(
    names: Sequence[str], lines: Iterator[Numbered], skipped: Sequence[Numbered], head_number: int
) -> Iterator[Row]:
    """Yield rows by the names of their columns, those above the names first.

    Args:
        names: The names of the columns.
        lines: The lines below the names.
        skipped: The lines above the names.
        head_number: The number of the line of the names.
    """
    rows = (cells for _, cells in lines if cells)
    first = next(rows, None)
    if first is None:
        return
    for number, cells in list_early(skipped, first):
        yield {BEFORE_HEADER: (number, head_number)} | _name_row(names, cells)
    for cells in chain([first], rows):
        yield _name_row(names, cells)


def _count_filled(row: Sequence[Any]) -> int:
    return sum(bool(str("" if cell is None else cell).strip()) for cell in row)


def name_columns(cells: Iterable[Any]) -> list[str]:
    """Return the names of a header, each once; "" for a column without a name.

    >>> name_columns(["Date", "mm", " mm ", None])
    ['Date', 'mm', 'mm#2', '']
    """
    names: list[str] = []
    for cell in cells:
        name = " ".join(str("" if cell is None else cell).split())
        unique = name
        number = 1
        while name and unique in names:
            number += 1
            unique = f"{name}#{number}"
        names.append(unique)
    return names


def _name_row(names: Sequence[str], cells: Sequence[Any]) -> Row:
    row = {name: cells[k] if k < len(cells) else None for k, name in enumerate(names) if name}
    surplus = [cell for cell in cells[len(names) :] if str(cell or "").strip()]  # a trailing comma is not a cell
    return row | {SURPLUS: surplus} if surplus else row


def limit_lines(text: io.TextIOBase | TextIO, path: Path) -> Iterator[str]:
    """Yield the lines of a text, without the zeros that a power failure leaves.

    Raises:
        ConfigError: A line is longer than `LINE_LIMIT`.
    """
    while line := text.readline(LINE_LIMIT):
        if len(line) == LINE_LIMIT:
            raise ConfigError(f"{path}: a line is longer than {LINE_LIMIT} characters")
        if "\0" not in line:
            yield line
        elif line.strip("\0\r\n"):
            yield line.lstrip("\0")


def _walk_csv(reader: "Iterator[list[str]]", path: Path, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of its first line.

    Raises:
        ConfigError: A quotation mark is not closed: it would include all rows to the end.
    """
    while True:
        first = reader.line_num + skipped + 1  # type: ignore[attr-defined]
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ConfigError(f"{path}: cannot be read as a table: line {first}: {error}") from None
        yield first, row


@contextmanager
def _open_parquet(path: Path) -> Iterator[tuple[list[str], Iterator[Row]]]:
    require("pyarrow", ConfigError)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise ConfigError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None

    with file:
        yield list(file.schema_arrow.names), _walk_parquet(file, path)


def _walk_parquet(file: Any, path: Path) -> Iterator[Row]:
    for batch in file.iter_batches(BATCH_ROWS):
        if batch.nbytes > BATCH_BYTES:
            size = f"{batch.num_rows} rows unpack to {batch.nbytes >> 20} MiB"
            raise ConfigError(f"{path}: {size}; at most {BATCH_BYTES >> 20} MiB are read")
        yield from batch.to_pylist()


def find_fault(row: Row) -> PayloadError | None:
    """Return why a row is rejected: it is above the names, cut, or has more cells than there are names; else None."""
    if BEFORE_HEADER in row:
        line, names = row[BEFORE_HEADER]
        return PayloadError("before_names", _EARLY(n=Figure(line, "d"), names=Figure(names, "d")))
    if TORN in row:
        return PayloadError("torn_line", _TORN_ROW())
    if SURPLUS not in row:
        return None
    return PayloadError(
        "cell_count", f"{len(row[SURPLUS])} cells more than the header has columns; is there a decimal comma?"
    )


def format_fault(row: Row) -> Row:
    """Return a rejected row for the quarantine, as texts and numbers."""
    return {
        key: " ".join(map(str, value)) if key == SURPLUS else value
        for key, value in row.items()
        if key not in {BEFORE_HEADER, TORN}
    }
