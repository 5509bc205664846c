"""How much of a file from outside is unpacked: a small archive may hold what no memory does."""

import zipfile
import zlib
from pathlib import Path

from forecasting.errors import RecipeError

TABLE_BYTES = 1 << 30  # of one table as text
PACKED = frozenset({".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz"})
# what a damaged or foreign zip raises while it is opened and unpacked
DAMAGED = (OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_part(archive: zipfile.ZipFile, name: str, most_bytes: int | None = None) -> bytes:
    """One file of a zip, bounded before it is unpacked; no more is unpacked than the archive said."""
    check_part(archive, name, TABLE_BYTES if most_bytes is None else most_bytes)
    return archive.read(name)


def check_part(archive: zipfile.ZipFile, name: str, most_bytes: int) -> None:
    """Refuse one file of a zip that says that it unpacks to more than `most_bytes`."""
    if (size := archive.getinfo(name).file_size) > most_bytes:
        raise RecipeError(
            f"{archive.filename}: {name} unpacks to {size >> 20} MiB; at most {most_bytes >> 20} MiB are read"
        )


def check_size(path: Path, name: str | None = None) -> None:
    """Refuse what is packed in a way that says nothing of its size, and what is too large.

    Raises:
        RecipeError: unpack it, or cut it; or it is a device, which has no end.
        OSError: it is not there.
    """
    called = name or path
    if path.is_char_device():
        raise RecipeError(f"{called}: a device and no table")
    if path.suffix.lower() in PACKED:
        raise RecipeError(f"{called}: unpack it first (of packed tables, a recipe reads a .zip of one .csv)")
    if (size := path.stat().st_size) > TABLE_BYTES:
        raise RecipeError(f"{called}: {size >> 20} MiB; at most {TABLE_BYTES >> 20} MiB of one table are read")
