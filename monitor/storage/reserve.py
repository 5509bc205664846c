"""Room on the disk that is kept for decisions: readings wait with the broker before it is touched.

Beside a SQLite database lies a file of that size, or of half of what is free where that is less. When another program
fills the disk it is given up, so that levels, alerts and messages are written still; with more room it is laid anew.
Readings wait while less than half as much is free beside it, until as much is free as it takes.
"""

import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Final

from monitor.storage.engine import Database

MEGABYTE: Final = 1_000_000
CHECK_EVERY_S: Final = 1.0
_SMALLEST: Final = 1 / 8  # of what is configured: a disk without room for twice that takes no reading
_GROWS: Final = 1.25  # times as much must fit before it is laid anew
log = logging.getLogger(__name__)


def find_database_folder(db: Database, disk: str) -> Path | None:
    """A folder on the disk of the database: beside a SQLite file, else the named one; None where it is not known."""
    file = _find_file(db)
    if file is not None:
        return file.absolute().parent
    return Path(disk) if disk else None


def _find_file(db: Database) -> Path | None:
    file = db.url.database
    is_file = db.is_sqlite and file and file != ":memory:" and not file.startswith("file:")
    return Path(file) if is_file and file else None


class DiskReserve:
    """Watches one disk; thread-safe.

    Args:
        folder: on the disk of the database; None where it is not known, and nothing is kept.
        file: the reserve; None where only readings are held back.
        size_bytes: what is kept where twice as much is free.
    """

    def __init__(self, folder: Path | None, file: Path | None, size_bytes: int) -> None:
        self._folder, self._file, self._size = folder if size_bytes else None, file, size_bytes
        self._given_up = 0  # what this left free is for decisions
        self._lock = threading.Lock()
        self._looked_s = float("-inf")
        self.trouble = ""  # why no readings are taken; empty while there is room

    @classmethod
    def of(cls, db: Database, reserve_mb: int, disk: str) -> "DiskReserve":
        """The reserve beside a SQLite file, or the watch over the disk on which the named folder lies."""
        file = _find_file(db)
        reserve = None if file is None else Path(f"{file}.reserve")
        return cls(find_database_folder(db, disk), reserve, reserve_mb * MEGABYTE)

    def hold(self) -> str:
        """Why readings must wait; empty where they need not. Looks at the disk at most once a second."""
        if time.monotonic() - self._looked_s >= CHECK_EVERY_S:
            self.follow()
        return self.trouble

    def follow(self) -> None:
        """Look at the disk: give the reserve up, lay it anew, hold readings back or let them in again."""
        if self._folder is None:
            return
        with self._lock:
            self._looked_s = time.monotonic()
            try:
                free = shutil.disk_usage(self._folder).free
            except OSError as error:
                log.warning("%s: how much room is left cannot be read: %s", self._folder, error)
                return
            kept = self._size if self._file is None else self._keep_file(self._file, free)
            # held back at half a reserve, let in again at a whole one: it must not flutter
            if not kept or free < kept * (1.0 if self.trouble else 0.5):
                self.trouble = (
                    f"{free // MEGABYTE} MB are free on the disk of {self._folder}: readings wait with the broker,"
                    " what is left is for decisions and alarms; make room"
                )
            else:
                self.trouble = ""

    def _keep_file(self, file: Path, free: int) -> int:
        """How large the reserve is, after it was given up or laid as the free bytes allow; 0: there is none."""
        laid = file.stat().st_size if file.exists() else 0
        if laid and free < laid // 8:
            file.unlink(missing_ok=True)
            log.error("the disk is full: the reserve of %d MB is given up for decisions", laid // MEGABYTE)
            self._given_up = laid
            return 0
        wanted = min(self._size, (laid + free) // 2)
        is_more = wanted == self._size or wanted >= _GROWS * max(laid, self._given_up / 2)
        is_due = laid != wanted >= _SMALLEST * self._size and is_more
        return wanted if is_due and self._lay(file, laid, wanted) else laid

    def _lay(self, path: Path, laid: int, size: int) -> bool:
        try:
            with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                os.posix_fallocate(file.fileno(), 0, size)
                file.truncate(size)
        except OSError as error:
            log.warning("the reserve of the disk cannot be laid: %s", error)
            if path.exists():  # part of it may lie there
                os.truncate(path, laid)
            return False
        self._given_up = 0
        return True
