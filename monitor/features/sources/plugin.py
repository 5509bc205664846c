"""Import files from HTTP, SFTP, STAC and SensorThings servers and watched folders, and rows from databases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.api.hooks import Command, Job, SourcePast, StatusSection, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Table

    from monitor.api.checks import Check
    from monitor.api.database import Database
    from monitor.api.settings import ServiceConfig
    from monitor.api.sites import Site
    from monitor.api.store import PublicView


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of sources."""
    return {
        "ingest sources": Command(
            _load_commands,
            "List the servers and databases that readings come from; read them now",
            after="ingest",
            rules={"ingest sources poll": "serves"},
        )
    }


def _load_commands() -> Any:
    from monitor.features.sources.cli import app

    return app


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the job that downloads files and imports the folder of a site."""
    from monitor.features.sources.poll import run

    return [Job("sources", run, lambda _: 60.0, 20.0, polls=True, watched=_find_watched_folder)]


def _find_watched_folder(config: ServiceConfig, site: Site) -> Path:
    return Path(config.paths.inbox) / "series" / site.id


@hookimpl
def register_checks() -> Iterable[Check]:
    """Return the checks of sources."""
    from monitor.features.sources.checks import CHECKS

    return CHECKS


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of sources."""
    from monitor.features.sources import tables

    return [tables.source_poll, tables.source_file]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of sources."""
    from monitor.api.store import pair_views
    from monitor.features.sources import views

    return pair_views(sqlite, views.select_views)


@hookimpl
def read_source_past(
    config: ServiceConfig, source: str, since: str, on_progress: Callable[[float], None]
) -> SourcePast:
    """Read the rows of a database source since a day into a file."""
    from monitor.features.sources.past import read_past

    return read_past(config, source, since, on_progress)


@hookimpl
def status_sections(connection: Connection, zones: Callable[[str], str]) -> Iterable[StatusSection]:
    """Return the sources of files with their last error."""
    from monitor.features.sources.status import describe_sources

    return [describe_sources(connection, zones)]


@hookimpl
def health_subjects(db: Database, config: ServiceConfig, sites: Mapping[str, Site], now: datetime) -> object:
    """Return the sources with the results of their polls."""
    from monitor.features.sources.checks import SourceStatus
    from monitor.features.sources.queries import load_polls

    return SourceStatus(config.source, sites, db.run_read(load_polls), now)
