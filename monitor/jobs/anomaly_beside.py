"""What networks read beside the motion of a site: series of other quantities, as known at an instant."""

from datetime import datetime

from sqlalchemy import Connection

from detection.anomaly.records import Beside
from detection.anomaly.registry import READS_QUANTITIES
from monitor.domain.instruments.watched import BESIDE, find_beside
from monitor.domain.site import Site
from monitor.jobs.samples import read_driver
from monitor.store.readings.observations import load_ids


def list_beside(c: Connection, site: Site, detector: str) -> list[str]:
    """Names of the series that a detector reads beside the motion, also of those that are silent now."""
    return sorted(find_beside(site, load_ids(c, site.id))) if detector in READS_QUANTITIES else []


def load_beside(c: Connection, site: Site, detector: str, since: datetime, now: datetime) -> dict[str, Beside]:
    """Their readings in (since, now] as known at `now`; a silent one has none."""
    if detector not in READS_QUANTITIES:
        return {}
    ids, out = load_ids(c, site.id), dict[str, Beside]()
    for label, spec in find_beside(site, ids).items():
        station, _, quantity = label.rpartition(".")
        times_s, values = read_driver(c, ids[station, quantity], spec, since, now)
        out[label] = Beside(times_s, values, spec.interval_s, BESIDE[quantity])
    return out
