"""After an outage: how many readings came late, and how many are missing by the cadence of each station."""

from datetime import datetime

from monitor.ingest.queries.gaps import count_readings, list_open, save_count
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.engine import Database


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Count again what late readings may still change; returns one line."""
    due = db.run_read(list_open)
    for outage_id, one in due.items():
        with db.read() as c:  # readings are stored meanwhile
            rows = count_readings(c, one.from_at, one.back_at)
        db.do(save_count, outage_id, rows, now)
    return f"{len(due)} outages counted"
