"""Which database the service ran on last: where another one lies in its place, people hear what is not in it."""

import contextlib
import json
import logging
from pathlib import Path
from typing import Final

from detection.whole_file import replacing
from monitor.domain.instants import spell
from monitor.service.alarms import ServiceAlarms
from monitor.store.database.audit import find_first
from monitor.store.database.engine import Database

FILE: Final = "database.json"  # in `paths.state`
KEY: Final = "database:other"
URGENT: Final = 2
log = logging.getLogger(__name__)


def recognise(db: Database, state: Path, alarms: ServiceAlarms) -> None:
    """Compare the first entry of the audit log with the one that is noted, tell where it is another, and note it.

    A copy that was restored begins with the same entry. An empty database has none and is left for the next start.

    Args:
        db: up to date, with the site files of this start in force.
        state: folder of the service's own files.
        alarms: keep what is told until it is stored.
    """
    with db.read() as c:
        first = find_first(c)
    if first is None:
        return
    noted = _read(state / FILE)
    if noted and noted != first.hash:
        name = Path(db.url.database or "").name
        reason = (
            f"the database {name} is another one than at the last start and begins at {spell(first.at)[:16]}Z; levels, "
            "alerts and accounts of before are not in it: stop the service, put the database or a backup in its place, "
            "start"
        )
        log.critical("%s", reason)
        alarms.open(KEY, reason, URGENT)
    if noted != first.hash:
        _write(state / FILE, first.hash)


def _read(file: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(file.read_text())["first"])
    return ""


def _write(file: Path, first: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file, flush=True, mode=0o600) as partial:
            partial.write_text(json.dumps({"first": first}))
    except OSError as error:
        log.warning("which database this is could not be noted in %s: %s", file, error)
