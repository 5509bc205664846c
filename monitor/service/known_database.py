"""Tells people where the service starts on another database than the time before: the past is not in it."""

import logging
from pathlib import Path
from typing import Final

from forecasting.message import Template, Timestamp
from monitor.service.alarms import ServiceAlarms, make_alarm
from monitor.store.database.audit import find_first
from monitor.store.database.engine import Database
from monitor.store.upkeep.identity import find_noted, note

_USED_BEFORE: Final = Template(
    "service.database.used_before",
    "the database {name} is another one than at the last start, and one that was in use before: what came meanwhile is "
    "not in it",
)
_ANOTHER: Final = Template(
    "service.database.another",
    "the database {path} is another one than at the last start and begins at {at}; its levels, alerts and accounts are "
    "others: stop the service, put the database or a backup in its place, start",
)

KEY: Final = "database:other"
URGENT: Final = 2
log = logging.getLogger(__name__)


def recognise(db: Database, state: Path, alarms: ServiceAlarms) -> None:
    """Compare the first entry of the audit log with the one that was noted, and tell once where it is another.

    A copy that was restored begins with the same entry. An empty database has none and is left for the next start.

    Args:
        db: up to date, with the site files of this start in force.
        state: folder of the service's own files.
        alarms: store what is told.

    Raises:
        StoreBusyError: nothing was told or noted, call again.
    """
    first = db.run_read(find_first)
    if first is None:
        return
    digest, begun_at = first
    noted = find_noted(state)
    if noted[:1] == [digest]:
        return
    if noted:
        name = Path(db.url.database or "").name
        reason = (
            _USED_BEFORE(name=name) if digest in noted else _ANOTHER(path=name, at=Timestamp.of(begun_at, "minute"))
        )
        log.critical("%s", reason)
        alarms.write(make_alarm(KEY, URGENT, reason, is_open=True))  # stored before it is noted: it is told for certain
    note(state, [digest, *(one for one in noted if one != digest)])
