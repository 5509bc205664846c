"""Reserve disk space for decisions, so that levels, alerts and messages are stored when readings no longer are.

The reserve is a file beside a SQLite database. It has the configured size, or half of the free space if that is less.
When another program fills the disk, the file is deleted. It is created again when the disk has space.

Readings stay with the broker while the free space, without the reserve, is less than half of the size of the reserve.
They are accepted again when the free space is as large as the reserve.
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
# The smallest reserve, as a share of the configured size. Without space for twice as much, no reading is stored.
_SMALLEST_SHARE: Final = 1 / 8
# The reserve is enlarged only if it grows by this factor, so that it is not written again and again.
_GROWTH_FACTOR: Final = 1.25
log = logging.getLogger(__name__)


def find_database_folder(db: Database, disk: str) -> Path | None:
    """Return the folder of a SQLite file, or else the configured folder `disk`. None if neither is known."""
    file = _find_file(db)
    if file is not None:
        return file.absolute().parent
    return Path(disk) if disk else None


def _find_file(db: Database) -> Path | None:
    file = db.url.database
    is_file = db.is_sqlite and file and file != ":memory:" and not file.startswith("file:")
    return Path(file) if is_file and file else None


class DiskReserve:
    """The reserve on one disk. Thread-safe.

    Args:
        folder: a folder on the disk of the database. Without it, there is no reserve.
        file: the file of the reserve. Without it, readings are held back, but no file is created.
        size_bytes: the configured size of the reserve.

    Attributes:
        hold_reason: why no readings are accepted. Empty while the disk has enough space.
    """

    def __init__(self, folder: Path | None, file: Path | None, size_bytes: int) -> None:
        self._folder = folder if size_bytes else None
        self._file = file
        self._size = size_bytes
        # The size of a reserve that was deleted; 0 if none was. The new reserve has at least about half of this size.
        self._deleted_size = 0
        self._lock = threading.Lock()
        self._checked_at_s = float("-inf")
        self.hold_reason = ""

    @classmethod
    def of(cls, db: Database, reserve_mb: int, disk: str) -> "DiskReserve":
        """Return the reserve beside a SQLite file, or one without a file for the disk of the folder `disk`."""
        file = _find_file(db)
        reserve = None if file is None else Path(f"{file}.reserve")
        return cls(find_database_folder(db, disk), reserve, reserve_mb * MEGABYTE)

    def find_hold_reason(self) -> str:
        """Return why readings must wait; empty if they need not. The disk is checked at most once a second."""
        if time.monotonic() - self._checked_at_s >= CHECK_EVERY_S:
            self.update()
        return self.hold_reason

    def update(self) -> None:
        """Check the disk, delete or create the reserve, and decide whether readings are accepted."""
        if self._folder is None:
            return
        with self._lock:
            self._checked_at_s = time.monotonic()
            try:
                free = shutil.disk_usage(self._folder).free
            except OSError as error:
                log.warning("%s: the free disk space cannot be read: %s", self._folder, error)
                return
            reserved = self._size if self._file is None else self._keep_file(self._file, free)
            # Two different limits prevent readings from being accepted and refused in quick succession.
            if not reserved or free < reserved * (1.0 if self.hold_reason else 0.5):
                self.hold_reason = (
                    f"{free // MEGABYTE} MB are free on the disk of {self._folder}: readings wait with the broker,"
                    " and the rest is reserved for decisions and alarms; free disk space"
                )
            else:
                self.hold_reason = ""

    def _keep_file(self, file: Path, free: int) -> int:
        """Delete, create or resize the file as the free space allows. Return its size, 0 if there is none."""
        present_size = file.stat().st_size if file.exists() else 0
        if present_size and free < present_size // 8:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                log.error("the disk is full, and its reserve cannot be deleted: %s", error)  # noqa: TRY400
                return present_size
            log.error("the disk is full: deleted the reserve of %d MB for decisions", present_size // MEGABYTE)
            self._deleted_size = present_size
            return 0
        size = min(self._size, (present_size + free) // 2)
        is_large_enough = size >= _SMALLEST_SHARE * self._size
        has_grown = size == self._size or size >= _GROWTH_FACTOR * max(present_size, self._deleted_size / 2)
        if size == present_size or not is_large_enough or not has_grown:
            return present_size
        return size if self._allocate(file, present_size, size) else present_size

    def _allocate(self, path: Path, present_size: int, size: int) -> bool:
        try:
            with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                os.posix_fallocate(file.fileno(), 0, size)
                file.truncate(size)
        except OSError as error:
            log.warning("the reserve on the disk cannot be created: %s", error)
            # A part of it may have been allocated.
            if path.exists():
                os.truncate(path, present_size)
            return False
        self._deleted_size = 0
        return True
