"""Detect that the service uses another database than before, or that the database file was removed."""

import logging
from pathlib import Path
from typing import Final

from monitor.app.checks.live import DatabaseFileStatus
from monitor.app.self_monitoring.alarms import ServiceAlarms, make_alarm
from monitor.app.self_monitoring.state_file import StateFile
from monitor.storage.audit import find_first
from monitor.storage.engine import Database
from monitor.text.message import Template, Timestamp

_OTHER_DATABASE: Final = Template(
    "service.database.another",
    "the database {path} is not the one of the last start. It begins at {at} and has its own levels, alerts and "
    "accounts. If this is not intended, stop the service, restore the database or a backup, and start the service",
)
OTHER_DATABASE_KEY: Final = "database:other"
URGENT: Final = 2
log = logging.getLogger(__name__)


def check_identity(db: Database, state_file: StateFile, alarms: ServiceAlarms) -> None:
    """Raise an urgent alarm if the service used another database before this start.

    Databases are compared by the first entry of their audit log, which a restored copy shares with its original. A
    database without an entry is not compared before the next start.

    Raises:
        StoreBusyError: Nothing was raised or stored; call again.
    """
    first = db.run_read(find_first)
    if first is None:
        return
    entry_hash, created_at = first
    before = state_file.read_first_entry()
    if before == entry_hash:
        return
    if before:
        reason = _OTHER_DATABASE(path=Path(db.url.database or "").name, at=Timestamp.of(created_at, "minute"))
        log.critical("%s", reason)
        # The alarm is committed before the file is written, so that it cannot be lost between the two.
        alarms.write(make_alarm(OTHER_DATABASE_KEY, URGENT, reason, is_open=True))
    state_file.store_first_entry(entry_hash)


class DatabaseFileWatch:
    """Detect that the SQLite file was removed or replaced. This process still writes to the removed file.

    The file counts as lost until the service starts again.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._file_id: tuple[int, int] | None = None
        self._is_lost = False

    def check(self) -> DatabaseFileStatus:
        """Compare the file with the one of the first call."""
        file_id = _find_file_id(self._db)
        if self._file_id is None:
            self._file_id = file_id
        elif file_id != self._file_id and not self._is_lost:
            self._is_lost = True
            log.critical("the database file %s was removed or replaced while the service runs", self._db.url.database)
        return DatabaseFileStatus(str(self._db.url.database), self._is_lost)


def _find_file_id(db: Database) -> tuple[int, int] | None:
    """Return device and inode of the SQLite file, (0, 0) if it does not exist; None for other databases."""
    if not db.is_sqlite or not db.url.database or db.url.database == ":memory:":
        return None
    try:
        status = Path(db.url.database).stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
