"""After an outage: how many readings came late, and how many are missing by the cadence of each station."""

from datetime import datetime

from monitor.config.service import ServiceConfig
from monitor.domain.site import Site
from monitor.store.database.engine import Database
from monitor.store.readings.outages import count_open


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Count again what late readings may still change; returns one line."""
    with db.write() as c:
        count = count_open(c, now)
    return f"{count} outages counted"
