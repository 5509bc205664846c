"""The part of the service that computes depth profiles."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from monitor.api.database import Database
from monitor.api.hooks import ServicePart
from monitor.api.queries.ingest import CalculationThread, StoredSites
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.features.profiles.calculator import ProfileCalculator
from monitor.features.profiles.checks import WaitingProfiles

# The service computes profiles during at most this share of the time of one processor.
SHARE: Final = 0.25


def build_parts(
    db: Database,
    _config: ServiceConfig,
    sites: Mapping[str, Site],
    clock: Callable[[], datetime],
    on_stored: Callable[[StoredSites], None],
) -> list[ServicePart]:
    """Return the thread that computes profiles, also for sites that have none yet."""
    thread = CalculationThread("depth profiles", ProfileCalculator(db, sites, clock), on_stored, SHARE)
    return [thread.make_part(WaitingProfiles(sites, thread.list_waits_s))]
