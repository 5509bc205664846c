"""The job that tests what the broker would keep during an outage of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl
from monitor.registration import Job

if TYPE_CHECKING:
    from collections.abc import Iterable


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the job."""
    from monitor.app.checks import broker_audit

    return [Job("broker", broker_audit.run, lambda _: 3600.0, 120.0, per_site=False, light=True)]
