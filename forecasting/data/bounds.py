"""Limits on the size of files that others wrote. A small archive may unpack to more than the memory holds."""

import zipfile
import zlib
from pathlib import Path

from forecasting.errors import RecipeError

TABLE_BYTES = 1 << 30  # of one table as text
PACKED = frozenset({".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz"})
# errors that a damaged zip raises when it is opened or unpacked
DAMAGED = (OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_part(archive: zipfile.ZipFile, name: str, most_bytes: int | None = None) -> bytes:
    """Return the content of one file of a zip.

    Raises:
        RecipeError: The file unpacks to more than `most_bytes` (default `TABLE_BYTES`).
    """
    check_part(archive, name, TABLE_BYTES if most_bytes is None else most_bytes)
    return archive.read(name)


def check_part(archive: zipfile.ZipFile, name: str, most_bytes: int) -> None:
    """Raise RecipeError if a file of a zip unpacks to more than `most_bytes`, by the size that the archive states."""
    size = archive.getinfo(name).file_size
    if size > most_bytes:
        raise RecipeError(
            f"{archive.filename}: {name} unpacks to {size >> 20} MiB; at most {most_bytes >> 20} MiB are read"
        )


def check_size(path: Path, name: str | None = None) -> None:
    """Check the size of a table before it is read.

    Args:
        name: Name of the file in messages; default is its path.

    Raises:
        RecipeError: The file is too large, packed in a format that does not state its size, or a device.
        OSError: The file does not exist.
    """
    called = name or path
    if path.is_char_device():
        raise RecipeError(f"{called}: is a device, expected a table")
    if path.suffix.lower() in PACKED:
        raise RecipeError(f"{called}: unpack it first (of packed tables, a recipe reads a .zip of one .csv)")
    size = path.stat().st_size
    if size > TABLE_BYTES:
        raise RecipeError(f"{called}: {size >> 20} MiB; at most {TABLE_BYTES >> 20} MiB of one table are read")
