"""Helpers for tests of `--guess`: write a table, store its mapping as a file, and read the table with it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monitor.errors import PayloadError
from monitor.features.table_import.guess.toml_writer import format_mapping
from monitor.ingest.files.lines import open_wide
from monitor.ingest.files.mapping import TableMapping, load_mapping
from monitor.ingest.files.reader import ImportOptions


def write_table(path: Path, head: str, rows: Iterable[str]) -> Path:
    """Write a table with a header and rows; return its path."""
    path.write_text("\n".join([head, *rows, ""]), encoding="utf-8")
    return path


def read_rows(path: Path, mapping: TableMapping) -> list[tuple[dict[str, Any], PayloadError | None]]:
    """Return the readings of a table, each with its error or None."""
    with open_wide(path, ImportOptions(mapping)) as lines:
        return [row for line in lines for row in line.rows]


def read_valid_rows(path: Path, mapping: TableMapping) -> list[dict[str, Any]]:
    """Return the readings of a table that have no error."""
    return [row for row, error in read_rows(path, mapping) if error is None]


def save_and_reload(mapping: TableMapping, path: Path) -> TableMapping:
    """Write a mapping to a file beside its table, and return the mapping read from this file."""
    mapping_file = path.with_suffix(".mapping.toml")
    mapping_file.write_text(format_mapping(mapping, path.name), encoding="utf-8")
    return load_mapping(mapping_file)
