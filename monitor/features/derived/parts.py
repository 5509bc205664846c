"""The part of the service that computes calculated series."""

from collections.abc import Callable, Mapping
from datetime import datetime

from monitor.api.database import Database
from monitor.api.hooks import ServicePart
from monitor.api.queries.ingest import CalculationThread, StoredSites
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.features.derived.calculator import Calculator
from monitor.features.derived.checks import CalculationStatus
from monitor.features.derived.cost import SHARE


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
