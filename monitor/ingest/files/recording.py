"""What follows a file that was read in: who brought it and vouched for its units, and flags that are judged again."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from monitor.domain.alert import Actor
from monitor.domain.site import Site
from monitor.ingest.files.reading import FileResult
from monitor.store.alerting.sites import find_version
from monitor.store.database.audit import add_audit
from monitor.store.database.engine import Database
from monitor.store.readings.flags import renew_flags


def record_file(database: Database, who: Actor, result: FileResult, now: datetime) -> None:
    """Who brought readings in; a file that brought nothing leaves no entry."""
    if result.stored:
        _record(database, who, "ingest.file", result.file, result, now)


def record_units(database: Database, who: Actor, file: str, result: FileResult, now: datetime) -> None:
    """Who said that the units of a file are right; what follows from it can be traced back."""
    _record(database, who, "ingest.accept_units", file, result, now)


def _record(database: Database, who: Actor, action: str, file: str, result: FileResult, now: datetime) -> None:
    detail = {"file": file, "rows": result.rows, "stored": result.stored}
    with database.write() as connection:
        add_audit(connection, who, action, ",".join(sorted(result.sites)), detail, now)


def renew_known_flags(
    database: Database, sites: Mapping[str, Site], touched: Iterable[str], now: datetime
) -> list[str]:  # fmt: skip
    """Judge again what is stored already: a station may have been declared since it was read.

    Returns the sites whose file is not in force yet: their flags follow it from then on.
    """
    waiting = []
    for site in (sites[name] for name in sorted(touched) if name in sites):
        with database.write() as connection:
            if find_version(connection, site.id) in {None, site.version}:
                renew_flags(connection, site, now, changed=False)
            else:
                waiting.append(site.id)
    return waiting
