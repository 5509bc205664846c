"""Back up the database when a backup is due."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from monitor.errors import StoreError
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.scheduled_backups import find_failures, find_newest, make_backup
from monitor.text.instants import format_iso
from monitor.worker.linux import end_with_parent

HOUR_S: Final = 3600.0


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Make and test a backup if the newest one is old enough. Return one line.

    Raises:
        StoreError: The last attempts failed, and the next one is not due yet.
    """
    settings = config.backup
    if settings.every_s is None:
        return "no backups are made, because backup.every is never"
    with db.read() as c:
        newest, failed = find_newest(c), find_failures(c)
    if newest is not None and (now - newest.at).total_seconds() < settings.every_s - settings.tolerance_s:
        return f"the newest backup was made at {newest.at:%Y-%m-%d %H:%M} UTC; the next one is not due"
    if failed is not None:
        # The pause doubles after each failure, because an attempt each hour would load the disk.
        next_at = failed.at + timedelta(seconds=min(HOUR_S * 2.0 ** min(failed.tries - 1, 20), settings.every_s))
        if now < next_at - timedelta(seconds=settings.tolerance_s):
            raise StoreError(
                f"{failed.tries} attempts failed, the next one is at {format_iso(next_at)[:16]}Z: {failed.detail}"
            )
    made = make_backup(
        db, Path(settings.folder), settings.keep, now, should_prove=settings.prove, prepare_child=end_with_parent
    )
    return f"{made.file}: {made.state}, {made.detail}"
