"""Rows of CSV and Parquet files one after the other, without holding the whole file."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from monitor.errors import ConfigError

SUFFIXES: Final = (".csv", ".txt", ".parquet", ".pq")
Row = dict[str, Any]


def list_files(path: Path) -> list[Path]:
    """The file itself, or the tables of a folder by name.

    Raises:
        ConfigError: there is no such file, or the folder holds no table.
    """
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not found:
            raise ConfigError(f"{path}: no file with {', '.join(SUFFIXES)} in this folder")
        return found
    if not path.exists() and str(path) != "-":
        raise ConfigError(f"{path}: no such file")
    return [path]


def open_rows(
    path: Path, *, delimiter: str = ",", skip_rows: int = 0, encoding: str = "utf-8-sig"
) -> tuple[list[str], Iterator[Row]]:
    """Column names and an iterator over rows; CSV cells are text, Parquet cells have types.

    Raises:
        ConfigError: the file cannot be read as a table.
    """
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            return _open_parquet(path)
        lines = sys.stdin if str(path) == "-" else path.open(encoding=encoding, newline="")
        for _ in range(skip_rows):
            next(lines, None)
        reader = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
        names = [n for n in reader.fieldnames or () if n]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a table: {error}") from None
    if not names:
        raise ConfigError(f"{path}: the file is empty")
    return names, _guard(reader, path, lines)


def _guard(reader: "csv.DictReader[str]", path: Path, lines: Any) -> Iterator[Row]:
    try:
        for row in reader:
            yield {k: v for k, v in row.items() if k}  # a trailing comma makes a column without name
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}, line {reader.line_num}: cannot be read: {error}") from None
    finally:
        if lines is not sys.stdin:
            lines.close()


def _open_parquet(path: Path) -> tuple[list[str], Iterator[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise ConfigError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None

    def rows() -> Iterator[Row]:
        with file:
            for batch in file.iter_batches(5000):
                yield from batch.to_pylist()

    return list(file.schema_arrow.names), rows()
