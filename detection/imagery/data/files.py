"""Files of a data set in a folder or in a zip file."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import DataError, TooLargeError, TrainingRecipeError

# Largest file that is read from a zip or an HDF5 file. A patch has about a megabyte.
FILE_BYTES_MOST = 1 << 29


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a data set."""

    root: Path  # the folder or zip file
    names: tuple[str, ...]  # paths relative to the root, sorted
    read: Callable[[str], bytes]  # returns the content of the file of a name

    def read_picture(self, name: str) -> NDArray[np.uint8]:
        """Decode a PNG to bands x H x W.

        Raises:
            DataError: the file is not a picture that can be read.
        """
        from detection.imagery.raster.raster import decode_png

        try:
            return decode_png(self.read(name))
        except OSError:
            raise DataError(f"{self.root}: {name} is no picture that can be read") from None
        except TooLargeError as error:
            raise DataError(f"{self.root}: {name}: {error}") from None

    def find_in_folders(self, *folders: str, suffix: str) -> dict[str, str]:
        """Return the files that are directly in one of the folders, by their names without suffix.

        Args:
            folders: ends of the paths of the folders, such as `train/images`; upper and lower case are equal.
            suffix: suffix of the files in lower case, with its dot.
        """
        endings = tuple(tuple(folder.lower().split("/")) for folder in folders)
        names_by_stem = {}
        for name in self.names:
            path = PurePosixPath(name)
            parts = tuple(part.lower() for part in path.parent.parts)
            if path.suffix.lower() == suffix and any(parts[-len(end) :] == end for end in endings):
                names_by_stem[name.removesuffix(path.suffix)] = name
        return names_by_stem


def open_files(path: Path) -> Files:
    """Open a folder or a zip.

    Raises:
        TrainingRecipeError: there is no such file, or it is no zip.
    """
    if path.is_dir():
        names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        return Files(path, tuple(names), lambda name: (path / name).read_bytes())
    if not path.is_file():
        raise TrainingRecipeError(f"{path}: the recipe's data are absent; name their folder with --data")
    try:
        archive = ZipFile(path)
    except BadZipFile:
        raise TrainingRecipeError(f"{path}: neither a folder nor a zip") from None

    def read_member(name: str) -> bytes:
        """Read one file of the zip. Its stated size is checked first, and `ZipFile` unpacks at most that size."""
        if (size := archive.getinfo(name).file_size) > FILE_BYTES_MOST:
            raise DataError(f"{path}: {name} unpacks to {size >> 20} MiB; at most {FILE_BYTES_MOST >> 20} are read")
        try:
            return archive.read(name)
        except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise DataError(f"{path}: {name} cannot be unpacked ({error})") from None

    members = tuple(sorted(name for name in archive.namelist() if not name.endswith("/")))
    return Files(path, members, read_member)
