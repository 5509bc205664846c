"""Tables of people for `--guess`: laid down row by row, and read by a mapping as its file gives it back."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monitor.errors import PayloadError
from monitor.features.table_import.guess.toml_writer import format_mapping
from monitor.ingest.files.lines import open_wide
from monitor.ingest.files.mapping import TableMapping, load_mapping
from monitor.ingest.files.reader import ImportOptions


def lay_rows(path: Path, head: str, rows: Iterable[str]) -> Path:
    """A file of these lines."""
    path.write_text("\n".join([head, *rows, ""]), encoding="utf-8")
    return path


def read_all(path: Path, mapping: TableMapping) -> list[tuple[dict[str, Any], PayloadError | None]]:
    """Each reading, and what is wrong with it."""
    with open_wide(path, ImportOptions(mapping)) as lines:
        return [judged for line in lines for judged in line.rows]


def read_good(path: Path, mapping: TableMapping) -> list[dict[str, Any]]:
    """The readings with which nothing is wrong."""
    return [row for row, error in read_all(path, mapping) if error is None]


def keep(mapping: TableMapping, path: Path) -> TableMapping:
    """What the file of a mapping gives back of it; it lies beside the table."""
    beside = path.with_suffix(".mapping.toml")
    beside.write_text(format_mapping(mapping, path.name), encoding="utf-8")
    return load_mapping(beside)
