"""Tells people where the service starts on another database than the time before: the past is not in it."""

import contextlib
import json
import logging
from pathlib import Path
from typing import Final

from forecasting.whole_file import replacing
from monitor.app.alarms import ServiceAlarms, make_alarm
from monitor.storage.audit import find_first
from monitor.storage.engine import Database
from monitor.text.message import Template, Timestamp

_ANOTHER: Final = Template(
    "service.database.another",
    "the database {path} is another one than at the last start and begins at {at}; its levels, alerts and accounts are "
    "others: stop the service, put the database or a backup in its place, start",
)
FILE: Final = "database.json"  # in `paths.state`: the hash of the first entry of the audit log
KEY: Final = "database:other"
URGENT: Final = 2
log = logging.getLogger(__name__)


def recognise(db: Database, state: Path, alarms: ServiceAlarms) -> None:
    """Compare the first entry of the audit log with the one that was noted, and tell once where it is another.

    A copy that was restored begins with the same entry. An empty database has none and is left for the next start.

    `db`: up to date, with the site files of this start in force; `state`: folder of the service's own files.

    Raises:
        StoreBusyError: nothing was told or noted, call again.
    """
    first = db.run_read(find_first)
    if first is None:
        return
    noted, file = "", state / FILE
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        noted = str(json.loads(file.read_text())["first"])
    if noted == first[0]:
        return
    if noted:
        reason = _ANOTHER(path=Path(db.url.database or "").name, at=Timestamp.of(first[1], "minute"))
        log.critical("%s", reason)
        alarms.write(make_alarm(KEY, URGENT, reason, is_open=True))  # stored before it is noted: it is told for certain
    try:
        state.mkdir(parents=True, exist_ok=True)
        with replacing(file, flush=True, mode=0o600) as partial:
            partial.write_text(json.dumps({"first": first[0]}))
    except OSError as error:
        log.warning("which database this is could not be noted in %s: %s", file, error)
