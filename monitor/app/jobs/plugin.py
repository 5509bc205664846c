"""Register the jobs of the kernel: outages, backups and housekeeping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from monitor.hookspecs import hookimpl
from monitor.registration import Job

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOUR_S: Final = 3600.0
_DAY_S: Final = 86400.0


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the jobs; their modules are imported here, before the threads of the schedule start."""
    from monitor.app.jobs import backup, housekeeping
    from monitor.ingest import jobs as outages

    return [
        Job("outages", outages.run, lambda _: _HOUR_S / 6, 90.0, per_site=False, light=True),
        Job("backup", backup.run, lambda _: _HOUR_S, 300.0, per_site=False),
        Job("housekeeping", housekeeping.run, lambda _: _DAY_S, 600.0, per_site=False),
    ]
