"""Unpack the archives of products (ZIP, TAR) within limits of size, and only into their own folder."""

import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, NamedTuple

from detection.imagery.errors import NotARasterError, SceneError, TooLargeError

SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz")
MOST_FILES: Final = 10_000
MOST_BYTES: Final = 16 << 30  # a product of Sentinel-2 has about 1 GiB
_BLOCK: Final = 1 << 20
_DAMAGED: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
Entry = tuple[str, int, Callable[[], IO[bytes]] | None]
"""Name, stated size, and a function that opens the entry; None if it is not a regular file."""


class UnpackedArchive(NamedTuple):
    """Result of unpacking an archive."""

    files: int  # number of files that were unpacked
    left_out: int  # number of links and devices, which were not


def strip_suffix(name: str) -> str | None:
    """Return the name of an archive without its suffix; None if the file is no archive.

    >>> strip_suffix("S2B_MSIL2A.SAFE.zip"), strip_suffix("LC08.tar"), strip_suffix("scene.tif"), strip_suffix("...zip")
    ('S2B_MSIL2A.SAFE', 'LC08', None, None)
    """
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            stem = name[: -len(suffix)]
            return stem if stem.strip(".") else None
    return None


def unpack(archive: Path, folder: Path, most_bytes: int = MOST_BYTES) -> UnpackedArchive:
    """Write the files of an archive into an existing folder. Links and devices are left out.

    The limit applies to the bytes that are written, not only to the stated sizes.

    Args:
        archive: the file.
        folder: where the files are written.
        most_bytes: limit of all files together.

    Raises:
        NotARasterError: the file is no archive, or it is damaged.
        SceneError: an entry would be outside of the folder.
        TooLargeError: too many files or bytes, or not enough room on the disk.
    """
    count = 0
    files = 0
    remaining_bytes = min(most_bytes, shutil.disk_usage(folder).free)
    try:
        for name, stated_bytes, open_entry in _list_entries(archive):
            count += 1
            if count > MOST_FILES:
                raise TooLargeError(f"{archive}: more than {MOST_FILES:,} files")
            if open_entry is None:
                continue
            path = PurePosixPath(name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name:
                raise SceneError(f"{archive}: {name[:80]!r} leads out of its folder")
            if stated_bytes > remaining_bytes:
                raise TooLargeError(
                    f"{archive}: {name[:80]} alone has {stated_bytes:,} bytes; room is for {remaining_bytes:,}"
                )
            target = folder.joinpath(*path.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_entry() as content, target.open("xb") as out:
                while block := content.read(_BLOCK):
                    remaining_bytes -= len(block)
                    if remaining_bytes < 0:
                        raise TooLargeError(f"{archive}: unpacks to more than there is room for")
                    out.write(block)
            files += 1
    except _DAMAGED as error:
        raise NotARasterError(f"{archive}: cannot be unpacked ({error})") from None
    return UnpackedArchive(files, count - files)


def _list_entries(archive: Path) -> Iterator[Entry]:
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                kind = entry.external_attr >> 28
                if entry.is_dir():
                    continue
                is_regular = kind in {0, 8}  # 8: a regular file; 0: the packing system stored no kind
                yield entry.filename, entry.file_size, partial(packed.open, entry) if is_regular else None
        return
    opened: Any = archive.open("rb") if archive.name.lower().endswith(".tar") else gzip.GzipFile(archive)
    with opened as raw, tarfile.TarFile(fileobj=_LimitedFile(raw)) as packed_tar:  # type: ignore[arg-type]
        while (member := packed_tar.next()) is not None:
            packed_tar.members = []  # type: ignore[attr-defined]  # otherwise tarfile keeps all headers in memory
            yield member.name, member.size, partial(_extract, packed_tar, member) if member.isfile() else None


def _extract(packed: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = packed.extractfile(member)
    if content is None:
        raise tarfile.ReadError(f"{member.name[:80]} cannot be read")
    return content


class _LimitedFile:
    """A file that limits how much is read at once, because the header of an archive may state any length."""

    def __init__(self, raw: Any) -> None:
        self.tell = raw.tell
        self.seek = raw.seek
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        """Read from the file.

        Raises:
            tarfile.ReadError: more bytes are requested than a header or a block needs.
        """
        if not 0 <= size <= 2 * _BLOCK:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return bytes(self._raw.read(size))
