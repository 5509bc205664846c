"""Files of map tiles that the service hands out: those of the folder of `[map] tiles`."""

import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}\.pmtiles")


@dataclass(frozen=True, slots=True)
class TileFile:
    """A file of tiles as it lies there now."""

    name: str
    size: int


def list_files(folder: str | Path) -> list[TileFile]:
    """Files of tiles in a folder, by name; links and what has an odd name are left out."""
    if not str(folder):
        return []
    found = []
    with suppress(OSError):
        for entry in sorted(Path(folder).iterdir()):
            with suppress(OSError):  # it was removed meanwhile
                known = entry.lstat()
                if NAME.fullmatch(entry.name) and stat.S_ISREG(known.st_mode):
                    found.append(TileFile(entry.name, known.st_size))
    return found
