"""Who else on this machine may open what the service keeps: nobody. Files hold accounts, sessions and every reading."""

import logging
import os
from pathlib import Path
from typing import IO, Final

OTHERS: Final = 0o077
log = logging.getLogger(__name__)


def keep_private(database: str | None) -> None:
    """Make the file of a SQLite database, and what lies beside it, readable by its owner alone.

    SQLite gives `-wal` and `-shm` the mode of the file, so a new file is made with its mode before SQLite opens it.
    What somebody else owns stays as it is.

    Args:
        database: the path as the URL names it; none, memory and `file:` addresses have no file to look after.
    """
    if not database or database == ":memory:" or database.startswith("file:"):
        return
    file = Path(database)
    if not file.exists():
        if file.parent.is_dir():  # else SQLite says what is wrong
            file.touch(mode=0o600)
        return
    beside = (Path(f"{file}{end}") for end in ("", "-wal", "-shm", ".lock"))
    loosened = [path for path in beside if _close(path)]
    if file in loosened:
        log.warning(
            "%s could be read by others on this machine, accounts included; now by its owner alone."
            " Readers get a copy of the views: slopeward db publish FILE", file,
        )  # fmt: skip


def open_lock(database: str | Path) -> IO[str]:
    """The lock file beside a SQLite database; who may open it could hold it, and so keep the service from starting."""
    return open(f"{database}.lock", "a+", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))


def _close(path: Path) -> bool:
    """Take others' rights away; True where they had some."""
    try:
        status = path.stat()
        if not status.st_mode & OTHERS or os.geteuid() not in {0, status.st_uid}:
            return False
        path.chmod(status.st_mode & 0o700)
    except OSError:  # gone meanwhile, or a file system without modes
        return False
    return True
