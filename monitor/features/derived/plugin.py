"""Series that are computed from other series of a site, with their unit and error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import Job, ServicePart, SiteFileSections, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from monitor.api.checks import Check
    from monitor.api.database import Database
    from monitor.api.queries.ingest import StoredSites
    from monitor.api.queries.readings import AddResult
    from monitor.api.readings import Observation
    from monitor.api.settings import ServiceConfig
    from monitor.api.sites import Site


@hookimpl
def site_file_sections() -> SiteFileSections:
    """Return `[[derived]]` and `[[relative]]`, each of which declares a calculated series."""
    from monitor.features.derived.declare import DerivedTable, expand
    from monitor.features.derived.relative import RelativeTable

    return SiteFileSections({"derived": DerivedTable, "relative": RelativeTable}, expand)


@hookimpl
def readings_stored(
    connection: Connection, sites: Mapping[str, Site], readings: Sequence[Observation], added: AddResult
) -> None:
    """Note what has to be computed again."""
    from monitor.features.derived.pending import note_readings

    note_readings(connection, sites, readings, added)


@hookimpl
def import_finished(database: Database, sites: Mapping[str, Site], clock: Callable[[], datetime]) -> None:
    """Compute what was noted during the import."""
    from monitor.features.derived.calculator import compute_pending

    compute_pending(database, sites, clock)


@hookimpl
def service_parts(
    db: Database,
    config: ServiceConfig,
    sites: Mapping[str, Site],
    clock: Callable[[], datetime],
    on_stored: Callable[[StoredSites], None],
) -> Iterable[ServicePart]:
    """Return the thread that computes what was noted."""
    from monitor.features.derived.parts import build_parts

    return build_parts(db, config, sites, clock, on_stored)


@hookimpl
def health_subjects(db: Database, sites: Mapping[str, Site], now: datetime) -> object:
    """Return the newest values of series that should agree."""
    from monitor.features.derived.checks import read_agreement

    return read_agreement(db, sites, now)


@hookimpl
def register_checks() -> Iterable[Check]:
    """Return the checks of this feature."""
    from monitor.features.derived.checks import CHECKS

    return CHECKS


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the job that computes again what a new site file declares otherwise."""
    from monitor.features.derived.redefined import run

    return [Job("derived", run, lambda _: 60.0, 15.0, light=True)]
