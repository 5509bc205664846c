"""Displacement, pressure or temperature by depth in boreholes, and the depth of slip. Each depth is a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import AccessRule, Job, Panel, ServicePart, SiteFileSections, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from fastapi import APIRouter
    from sqlalchemy import Connection

    from monitor.api.checks import Check
    from monitor.api.database import Database
    from monitor.api.files import FileReader
    from monitor.api.queries.ingest import StoredSites
    from monitor.api.queries.readings import AddResult
    from monitor.api.readings import Observation
    from monitor.api.settings import ServiceConfig
    from monitor.api.sites import Site
    from monitor.api.store import PublicView


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the page of profiles."""
    from monitor.features.profiles.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read profiles."""
    return {"GET /sites/{site}/profiles": AccessRule("read")}


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the link to the profiles of a site."""
    return [Panel("site.links", "profiles_link.html")]


@hookimpl
def site_file_sections() -> SiteFileSections:
    """Return `[[profile]]`, each of which declares a series for every depth."""
    from monitor.features.profiles.declare import ProfileTable, expand

    return SiteFileSections({"profile": ProfileTable}, expand)


@hookimpl
def register_file_readers() -> Mapping[str, FileReader]:
    """Return the reader of surveys."""
    from monitor.api.files import FileReader
    from monitor.features.profiles.files import open_profile
    from monitor.features.profiles.surveys import is_survey

    return {
        "profile": FileReader(
            open_profile,
            "readings by depth of a declared profile: surveys of probes, and tables with depths as names",
            suffixes=(".csv", ".txt", ".gkn", ".rpp", ".dux", ".di1"),
            takes=("--station", "--unit"),
            recognises=is_survey,
        )
    }


@hookimpl
def readings_stored(
    connection: Connection, sites: Mapping[str, Site], readings: Sequence[Observation], added: AddResult
) -> None:
    """Note what has to be computed again."""
    from monitor.features.profiles.pending import note_readings

    note_readings(connection, sites, readings, added)


@hookimpl
def import_finished(database: Database, sites: Mapping[str, Site], clock: Callable[[], datetime]) -> None:
    """Compute what was noted during the import."""
    from monitor.features.profiles.calculator import compute_pending

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
    from monitor.features.profiles.parts import build_parts

    return build_parts(db, config, sites, clock, on_stored)


@hookimpl
def health_subjects(db: Database, sites: Mapping[str, Site], now: datetime) -> object:
    """Return what is missing from the newest survey of each profile."""
    from monitor.features.profiles.checks import read_profiles

    return read_profiles(db, sites, now)


@hookimpl
def register_checks() -> Iterable[Check]:
    """Return the checks of this feature."""
    from monitor.features.profiles.checks import CHECKS

    return CHECKS


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the job that computes again what a new site file declares otherwise."""
    from monitor.features.profiles.redefined import run

    return [Job("profiles", run, lambda _: 60.0, 20.0, light=True)]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of profiles."""
    from monitor.api.store import pair_views
    from monitor.features.profiles import views

    return pair_views(sqlite, views.select_views)
