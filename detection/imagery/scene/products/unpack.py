"""Archives as products are handed out in (ZIP, TAR): unpacked within bounds, and never beyond their own folder."""

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from detection.imagery.errors import NotARasterError, SceneError, TooLargeError

SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz")
MOST_FILES: Final = 10_000
MOST_BYTES: Final = 16 << 30  # a product of Sentinel-2 has about one
_BLOCK: Final = 1 << 20
Entry = tuple[str, int, Callable[[], IO[bytes] | None]]
"""Name, stated size, and how it is opened."""


def strip_suffix(name: str) -> str | None:
    """The name of an archive without its ending; None where it is none.

    >>> strip_suffix("S2B_MSIL2A.SAFE.zip"), strip_suffix("LC08.tar"), strip_suffix("scene.tif")
    ('S2B_MSIL2A.SAFE', 'LC08', None)
    """
    found = next((one for one in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(one)), None)
    return name[: -len(found)] if found and len(name) > len(found) else None


def unpack(archive: Path, folder: Path, most_bytes: int = MOST_BYTES) -> int:
    """Write the files of an archive into a folder that exists; returns how many.

    Links and devices are left out. What is really written counts, whatever the archive states.

    Raises:
        NotARasterError: it is no archive, or it is damaged.
        SceneError: a name that leads out of the folder.
        TooLargeError: too many files, too many bytes, or more than the disk has room for.
    """
    count, room = 0, min(most_bytes, shutil.disk_usage(folder).free)
    try:
        for name, stated, opener in _list(archive):
            place = PurePosixPath(name.replace("\\", "/"))
            if place.is_absolute() or ".." in place.parts or ":" in name or "\0" in name:
                raise SceneError(f"{archive}: {name[:80]!r} leads out of its folder")
            count += 1
            if count > MOST_FILES:
                raise TooLargeError(f"{archive}: more than {MOST_FILES:,} files")
            target = folder.joinpath(*place.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = opener() if stated <= room else None
            if content is None:
                raise TooLargeError(f"{archive}: {name[:80]} alone has {stated:,} bytes; room is for {room:,}")
            with content, target.open("xb") as out:
                while block := content.read(_BLOCK):
                    room -= len(block)
                    if room < 0:
                        raise TooLargeError(f"{archive}: unpacks to more than there is room for")
                    out.write(block)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise NotARasterError(f"{archive}: cannot be unpacked ({error})") from None
    return count


def _list(archive: Path) -> Iterator[Entry]:
    """The plain files of an archive in their order."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            for one in packed.infolist():
                kind = one.external_attr >> 28
                if not one.is_dir() and kind in {0, 8}:  # 8: a regular file; 0: the system that packed it says nothing
                    yield one.filename, one.file_size, lambda one=one: packed.open(one)  # type: ignore[misc]
        return
    with tarfile.open(archive) as packed_tar:
        for member in packed_tar:
            if member.isfile():
                yield member.name, member.size, lambda member=member: packed_tar.extractfile(member)  # type: ignore[misc]
