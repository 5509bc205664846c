"""Job that counts the readings of an outage that were late, and those that are missing."""

from datetime import datetime

from monitor.ingest.queries.gaps import count_readings, load_open_outages, save_count
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.engine import Database


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Count the readings of each outage for which late readings may still arrive, and return a line for the log."""
    outages = db.run_read(load_open_outages)
    for outage_id, outage in outages.items():
        # Counting takes long. Readings can be stored meanwhile, because it does not hold the write lock.
        with db.read() as c:
            counts = count_readings(c, outage.from_at, outage.back_at)
        db.run_write(save_count, outage_id, counts, now)
    return f"{len(outages)} outages counted"
