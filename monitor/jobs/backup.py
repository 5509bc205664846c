"""Make a copy of the database when one is due."""

from datetime import datetime
from pathlib import Path

from monitor.config.service import ServiceConfig
from monitor.domain.site import Site
from monitor.store.database.engine import Database
from monitor.store.upkeep.copies import find_newest, make_copy


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Copy and prove where the newest copy is old enough; returns one line.

    Raises:
        StoreError: there is no copy, or it is not as it was written.
    """
    wanted = config.backup
    if wanted.every_s is None:
        return "no copies are made: backup.every says never"
    with db.read() as c:
        newest = find_newest(c)
    if newest is not None and (now - newest.at).total_seconds() < wanted.every_s - wanted.slack_s:
        return f"the newest copy is of {newest.at:%Y-%m-%d %H:%M} UTC; the next one is not due"
    made = make_copy(db, Path(wanted.folder), wanted.keep, now, is_proven=wanted.prove)
    return f"{made.file}: {made.state}, {made.detail}"
