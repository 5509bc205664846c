"""Rows of CSV and Parquet files one after the other, without holding the whole file."""

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
SURPLUS: Final = (
    ""  # key of the cells beyond the last column, where a row has any: a decimal comma makes two cells of one
)
BEFORE_HEADER: Final = "\n"  # key of the line of a row that stands before the names of the columns, and of their line
TORN: Final = "\0"  # key that marks the last row, where it seems to be torn
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
LINE_LIMIT: Final = 1 << 20  # characters: the acquisitions of five years of six days are 5,000
BATCH_ROWS: Final = 1000
BATCH_BYTES: Final = 64 << 20
SPOOL_BYTES: Final = 64 << 20
FEWEST_ABOVE: Final = 5  # numbers that say how many decimals a column has
WHITESPACE: Final = "whitespace"  # as a delimiter: any run of blanks
Row = dict[str, Any]


def list_files(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """The file itself, or the tables of a folder by name.

    Raises:
        ConfigError: there is no such file, it is a pipe, or the folder holds no table.
    """
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes)
        if not found:
            raise ConfigError(f"{path}: no file with {', '.join(suffixes)} in this folder")
        return found
    if not path.exists() and str(path) != "-":
        raise ConfigError(f"{path}: no such file")
    if not path.is_file() and str(path) != "-":  # it is looked at before it is read, and a pipe is empty then
        raise ConfigError(f"{path}: no ordinary file; send a pipe to standard input and give - as the file")
    return [path]


def require_columns(path: Path, names: Sequence[str], needed: Sequence[str], also: str) -> None:
    """Raise ConfigError where a table lacks a column; `also`: what may stand beside those that are needed."""
    if absent := [name for name in needed if name not in names]:
        raise ConfigError(f"{path}: column {absent[0]!r} is missing; expected {', '.join(needed)} {also}")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the lines of a table are made of cells."""

    delimiter: str = ","  # one character, or `whitespace`: any run of blanks
    skip_rows: int = 0  # lines before the header
    encoding: str = "utf-8-sig"  # of a text file
    header: bool = True  # False: columns are called by their place, "1", "2",
    skip_after: int = 0  # lines between the header and the first row
    starts: tuple[int, ...] = ()  # first characters of columns of fixed width; then `delimiter` means nothing
    sheets: tuple[str, ...] = ()  # of a workbook, one table after the other; none: its first visible one

    def split(self, line: str) -> list[str]:
        """The cells of a line of blanks or of fixed width."""
        if self.starts:
            ends = (*self.starts[1:], None)
            return [line[a:b].strip() for a, b in zip(self.starts, ends, strict=True)]
        return line.split()


@contextmanager
def open_rows(path: Path, layout: Layout = Layout()) -> Iterator[tuple[list[str], Iterator[Row]]]:
    """Column names and an iterator over rows; CSV cells are text, those of Parquet and workbooks have types.

    A name that comes twice is called `NAME#2` the second time.

    Raises:
        ConfigError: the file cannot be read as a table.
    """
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            with _open_parquet(path) as found:
                yield found
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
    """The same rows, the last with `TORN` where its line has no end and its number lacks decimals all others have."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(layout.encoding, errors="replace").splitlines(keepends=True)
    split = None if layout.delimiter == WHITESPACE else layout.delimiter
    last_cells = [line.rsplit(split, 1)[-1].strip(' "\r\n') if line.strip() else "" for line in lines or [""]]
    *above, last = [_NUMBER.fullmatch(cell) for cell in last_cells]
    decimals = [len(number[1] or "") for number in above if number]
    is_short = last is not None and len(decimals) >= FEWEST_ABOVE and len(last[1] or "") < min(decimals)
    if not is_short or lines[-1].endswith(("\n", "\r")):
        yield from rows
        return
    for row, below in pairwise(chain(rows, [None])):
        if row is not None:
            yield row if below is not None else row | {TORN: True}


def read_workbook(path: Path, sheets: Sequence[str] = (), head: int | None = None) -> dict[str, list[list[Any]]]:
    """Rows of visible worksheets by their name; dates are ISO 8601 text without a zone, percentages as people see them.

    Args:
        sheets: these; none: the first.
        head: so many first rows, of all of them where none is named; None: all rows.

    Raises:
        ConfigError: the file is no workbook, larger than its bounds, or it has no such sheet.
    """
    from forecasting.data.workbook import read_sheets
    from forecasting.errors import RecipeError

    try:
        return read_sheets(path, sheets, first=head is None and not sheets, rows=head, as_shown=True)
    except RecipeError as error:
        raise ConfigError(describe_error(error)) from None


def find_day_zero(path: Path) -> datetime | None:
    """The day from which a workbook counts plain numbers as dates, where it is its own and not 1899-12-30."""
    from forecasting.data.workbook import read_day_zero

    if path.suffix.lower() not in WORKBOOKS:
        return None
    begin = datetime.fromisoformat(read_day_zero(path)).replace(tzinfo=UTC)
    return None if begin.year < 1904 else begin


def _open_workbook(path: Path, layout: Layout) -> tuple[list[str], Iterator[Row]]:
    """The rows of its sheets one after the other: each has the names of the first."""
    sheets = list(read_workbook(path, layout.sheets).items())
    opened = [_name_rows(enumerate(rows, 1), path, layout) for _, rows in sheets]
    if not opened:
        raise ConfigError(f"{path}: no visible sheet")
    if other := next((name for (name, _), (names, _) in zip(sheets, opened, strict=True) if names != opened[0][0]), ""):
        raise ConfigError(f"{path}: sheet {other!r} has other columns than {sheets[0][0]!r}: read it in by itself")
    return opened[0][0], chain.from_iterable(rows for _, rows in opened)


def _rewind_stdin() -> TextIO:
    """Standard input from its beginning; a pipe is kept, because a file is looked at before it is stored."""
    if not sys.stdin.seekable():
        kept = SpooledTemporaryFile(SPOOL_BYTES, "w+", encoding="utf-8", newline="")  # noqa: SIM115 - as long as stdin
        atexit.register(kept.close)
        shutil.copyfileobj(sys.stdin, kept)
        sys.stdin = cast("TextIO", kept)
    sys.stdin.seek(0)
    return sys.stdin


def _read_text(text: TextIO, path: Path, layout: Layout) -> tuple[list[str], Iterator[Row]]:
    lines = limit_lines(text, path)
    if layout.starts or layout.delimiter == WHITESPACE:
        return _name_rows(enumerate((layout.split(line.rstrip("\r\n")) for line in lines), 1), path, layout)
    skipped = [(n, _split_line(line, layout)) for n, line in zip(range(1, layout.skip_rows + 1), lines, strict=False)]
    reader = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=True, strict=True)
    return _name_rows(chain(skipped, _walk_csv(reader, path, layout.skip_rows)), path, layout)


def _split_line(line: str, layout: Layout) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=layout.delimiter, skipinitialspace=True), [])
    except csv.Error:
        return [line]


def _name_rows(cells: Iterator[Numbered], path: Path, layout: Layout) -> tuple[list[str], Iterator[Row]]:
    """Names of the columns, and each row as name -> cell; rows above the names are first, with `BEFORE_HEADER`."""
    skipped = list(islice(cells, layout.skip_rows))
    first = next(((n, row) for n, row in cells if row and (not layout.header or not is_annotation(row))), (0, []))
    names = name_columns(first[1]) if layout.header else [str(k) for k, _ in enumerate(first[1], start=1)]
    if not any(names):
        raise ConfigError(f"{path}: the file is empty")
    below = list(islice(cells, layout.skip_after))
    named = [row for _, row in skipped if not is_annotation(row)]
    head = first[1] if layout.header else max(named, key=_count_words, default=[])
    above = [row for _, row in skipped[-HEAD_MOST:]]
    heads = Heads(str(path), head, above, [row for _, row in below[:HEAD_MOST]])
    rest = cells if layout.header else chain([first], cells)
    parts = heads.follow(rest) if _count_words(head) > 1 else rest
    return [n for n in names if n], _name_each(names, parts, skipped, first[0])


def _name_each(
    names: Sequence[str], parts: Iterator[Numbered], skipped: Sequence[Numbered], line: int
) -> Iterator[Row]:
    """Rows by the names of their columns; those before the names, which stand in a line, come first."""
    rows = (row for _, row in parts if row)
    begin = next(rows, None)
    if begin is None:
        return
    yield from ({BEFORE_HEADER: (n, line)} | _name_row(names, row) for n, row in list_early(skipped, begin))
    yield from (_name_row(names, row) for row in chain([begin], rows))


def _count_words(row: Sequence[Any]) -> int:
    return sum(bool(str("" if cell is None else cell).strip()) for cell in row)


def name_columns(cells: Iterable[Any]) -> list[str]:
    """Names of columns as a header has them, each its own; "" where it has none.

    >>> name_columns(["Date", "mm", " mm ", None])
    ['Date', 'mm', 'mm#2', '']
    """
    names: list[str] = []
    for cell in cells:
        name, again = " ".join(str("" if cell is None else cell).split()), 1
        unique = name
        while name and unique in names:
            again += 1
            unique = f"{name}#{again}"
        names.append(unique)
    return names


def _name_row(names: Sequence[str], cells: Sequence[Any]) -> Row:
    found = {name: cells[k] if k < len(cells) else None for k, name in enumerate(names) if name}
    surplus = [cell for cell in cells[len(names) :] if str(cell or "").strip()]  # a trailing comma is no surplus
    return found | {SURPLUS: surplus} if surplus else found


def limit_lines(text: io.TextIOBase | TextIO, path: Path) -> Iterator[str]:
    """Lines of a text one after the other, but never a whole file as one line.

    Raises:
        ConfigError: a line is longer than `LINE_LIMIT`.
    """
    while line := text.readline(LINE_LIMIT):
        if len(line) == LINE_LIMIT:
            raise ConfigError(f"{path}: a line is longer than {LINE_LIMIT} characters")
        if "\0" not in line:
            yield line
        elif line.strip("\0\r\n"):  # loggers that lose power leave zeros behind, or before what comes next
            yield line.lstrip("\0")


def _walk_csv(reader: "Iterator[list[str]]", path: Path, skipped: int) -> Iterator[tuple[int, list[str]]]:
    while True:
        first = reader.line_num + skipped + 1  # type: ignore[attr-defined]
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # a quote that nobody closes would swallow all rows to the end
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
    """Why a row is none: it stands before the names, or has more cells than they are, and which count is not known."""
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
    """A row that is none, as it waits in the quarantine: texts and numbers alone."""
    return {k: v if k != SURPLUS else " ".join(map(str, v)) for k, v in row.items() if k not in {BEFORE_HEADER, TORN}}
