"""Rows of CSV and Parquet files one after the other, without holding the whole file."""

import atexit
import csv
import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, Final, TextIO, cast

from monitor.errors import ConfigError, PayloadError

SUFFIXES: Final = (".csv", ".txt", ".parquet", ".pq")
SURPLUS: Final = (
    ""  # key of the cells beyond the last column, where a row has any: a decimal comma makes two cells of one
)
LINE_LIMIT: Final = 1 << 20  # characters: the acquisitions of five years of six days are 5,000
BATCH_ROWS: Final = 1000
BATCH_BYTES: Final = 64 << 20
SPOOL_BYTES: Final = 64 << 20
Row = dict[str, Any]


def list_files(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """The file itself, or the tables of a folder by name.

    Raises:
        ConfigError: there is no such file, or the folder holds no table.
    """
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes)
        if not found:
            raise ConfigError(f"{path}: no file with {', '.join(suffixes)} in this folder")
        return found
    if not path.exists() and str(path) != "-":
        raise ConfigError(f"{path}: no such file")
    return [path]


def require_columns(path: Path, names: Sequence[str], needed: Sequence[str], also: str) -> None:
    """Raise ConfigError where a table lacks a column; `also`: what may stand beside those that are needed."""
    if absent := [name for name in needed if name not in names]:
        raise ConfigError(f"{path}: column {absent[0]!r} is missing; expected {', '.join(needed)} {also}")


@contextmanager
def open_rows(
    path: Path, *, delimiter: str = ",", skip_rows: int = 0, encoding: str = "utf-8-sig", header: bool = True
) -> Iterator[tuple[list[str], Iterator[Row]]]:
    """Column names and an iterator over rows; CSV cells are text, Parquet cells have types.

    Raises:
        ConfigError: the file cannot be read as a table.
    """
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            with _open_parquet(path) as found:
                yield found
        elif str(path) == "-":
            yield _read_csv(_rewind_stdin(), path, delimiter, skip_rows, header=header)
        else:
            with path.open(encoding=encoding, newline="") as lines:
                yield _read_csv(lines, path, delimiter, skip_rows, header=header)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as a table: {error}") from None


def _rewind_stdin() -> TextIO:
    """Standard input from its beginning; a pipe is kept, because a file is looked at before it is stored."""
    if not sys.stdin.seekable():
        kept = SpooledTemporaryFile(SPOOL_BYTES, "w+", encoding="utf-8", newline="")  # noqa: SIM115 - as long as stdin
        atexit.register(kept.close)
        shutil.copyfileobj(sys.stdin, kept)
        sys.stdin = cast("TextIO", kept)
    sys.stdin.seek(0)
    return sys.stdin


def _read_csv(
    text: TextIO, path: Path, delimiter: str, skip_rows: int, *, header: bool
) -> tuple[list[str], Iterator[Row]]:  # fmt: skip
    lines = limit_lines(text, path)
    for _ in range(skip_rows):
        next(lines, None)
    numbered: list[str] | None = None
    rows: Iterable[str] = lines
    if not header:  # columns are called by their place, as many as the first row has
        first = next(lines, "")
        numbered = [str(k) for k, _ in enumerate(next(csv.reader([first], delimiter=delimiter), []), start=1)]
        rows = chain([first], lines)
    reader = csv.DictReader(rows, fieldnames=numbered, delimiter=delimiter, skipinitialspace=True, strict=True)
    names = [n for n in reader.fieldnames or () if n]
    if not names:
        raise ConfigError(f"{path}: the file is empty")
    return names, _walk_csv(reader, path, skip_rows)


def limit_lines(text: io.TextIOBase | TextIO, path: Path) -> Iterator[str]:
    """Lines of a text one after the other, but never a whole file as one line.

    Raises:
        ConfigError: a line is longer than `LINE_LIMIT`.
    """
    while line := text.readline(LINE_LIMIT):
        if len(line) == LINE_LIMIT:
            raise ConfigError(f"{path}: a line is longer than {LINE_LIMIT} characters")
        yield line


def _walk_csv(reader: "csv.DictReader[str]", path: Path, skipped: int) -> Iterator[Row]:
    while True:
        first = reader.line_num + skipped + 1
        try:
            row: Any = next(reader)  # under None: the cells beyond the header
        except StopIteration:
            return
        except csv.Error as error:  # a quote that nobody closes would swallow all rows to the end
            raise ConfigError(f"{path}: cannot be read as a table: line {first}: {error}") from None
        surplus = [cell for cell in row.pop(None, None) or () if cell.strip()]  # a trailing comma is no surplus
        found = {k: v for k, v in row.items() if k}
        yield found | {SURPLUS: surplus} if surplus else found


@contextmanager
def _open_parquet(path: Path) -> Iterator[tuple[list[str], Iterator[Row]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise ConfigError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None

    with file:
        yield list(file.schema_arrow.names), _walk_parquet(file, path)


def _walk_parquet(file: Any, path: Path) -> Iterator[Row]:
    """Rows; a small file may unpack to what no memory holds."""
    for batch in file.iter_batches(BATCH_ROWS):
        if batch.nbytes > BATCH_BYTES:
            size = f"{batch.num_rows} rows unpack to {batch.nbytes >> 20} MiB"
            raise ConfigError(f"{path}: {size}; at most {BATCH_BYTES >> 20} MiB are read")
        yield from batch.to_pylist()


def find_surplus(row: Row) -> PayloadError | None:
    """A row with more cells than the header: which of them is the value cannot be known."""
    if SURPLUS not in row:
        return None
    return PayloadError(
        "cell_count", f"{len(row[SURPLUS])} cells more than the header has columns; is there a decimal comma?"
    )
