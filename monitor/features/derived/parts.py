"""The part of the service that computes calculated series."""

from collections.abc import Callable, Mapping
from datetime import datetime

from monitor.features.derived.checks import CalculationStatus
from monitor.features.derived.cost import SHARE
from monitor.features.derived.worker import Calculator
from monitor.ingest.calculations import CalculationThread
from monitor.ingest.message import StoredSites
from monitor.registration import ServicePart
from monitor.settings.service import ServiceConfig
from monitor.sites.records import Site
from monitor.storage.engine import Database


def build_parts(
    db: Database,
    _config: ServiceConfig,
    sites: Mapping[str, Site],
    clock: Callable[[], datetime],
    on_stored: Callable[[StoredSites], None],
) -> list[ServicePart]:
    """Return the thread that computes calculated series, also for sites that have none yet."""
    thread = CalculationThread("calculated series", Calculator(db, sites, clock), on_stored, SHARE)
    return [thread.make_part(CalculationStatus(sites, thread.list_waits_s))]
