"""Load the site files that the core uses.

A file that is missing, invalid or not approved is replaced by the last good version. The table of checks makes an alarm
of each such problem.
"""

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from monitor.alerts.acts.change_control import (
    SiteFileInForce,
    explain_refusal,
    explain_unread,
    find_file,
    load_into_force,
)
from monitor.app.checks.live import LoadedSites
from monitor.errors import ConfigError
from monitor.sections import read_text
from monitor.settings.service import ServiceConfig
from monitor.sites.files import scan_sites
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source, load_sites_summary
from monitor.sites.records import Site
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.engine import Database

log = logging.getLogger(__name__)


class SitesInForce:
    """Load the site files at the start, and find sites of which another version was put in force later.

    A file that changes after the start has no effect until somebody puts it in force or the core starts again.
    """

    def __init__(self, db: Database, config: ServiceConfig, clock: Callable[[], datetime]) -> None:
        self.db = db
        self.config = config
        self.clock = clock
        # Version by site, as loaded at the start.
        self._in_force: dict[str, str] = {}

    def load(self) -> LoadedSites:
        """Return the sites to watch, and the problems of their files."""
        folder = self.config.paths.sites
        folder_problem = ""
        sites: list[Site] = []
        failures: dict[Path, ConfigError] = {}
        try:
            sites, failures = scan_sites(folder)
        except ConfigError as error:
            folder_problem = error.message
            log.error("%s", folder_problem)  # noqa: TRY400 - the message names the cause
        for failure in failures.values():
            log.error("%s", failure)
        results: dict[str, SiteFileInForce] = {}
        for site in sites:
            # One transaction for each site, so that other writers do not wait for all of them.
            with self.db.write() as c:
                results[site.id] = load_into_force(c, site, SERVICE_ACTOR.name, "loaded at start", self.clock())
        with self.db.read() as c:
            self._in_force = {summary.id: summary.config_sha256 for summary in load_sites_summary(c)}
            sources = {
                site_id: load_site_source(c, version)
                for site_id, version in self._in_force.items()
                if site_id not in results
            }
        last_good, unwatched = _parse_sources(sources)
        loaded = LoadedSites(
            sites=[*(result.site for result in results.values()), *last_good],
            folder_problem=folder_problem,
            unusable={path.name: failure.message for path, failure in failures.items()},
            gone=sorted(sources.keys() - _find_site_ids(failures)),
            unwatched=unwatched,
            unread={site_id: explain_unread(result) for site_id, result in results.items() if result.unread},
            unapproved={
                site.id: explain_refusal(results[site.id], str(find_file(folder, site.version) or folder))
                for site in sites
                if results[site.id].loosens
            },
        )
        for line in (*loaded.unread.values(), *loaded.unapproved.values()):
            log.error("%s", line)
        watched_ids = ", ".join(site.id for site in loaded.sites)
        log.info("watching %d site(s): %s", len(loaded.sites), watched_ids or "none")
        return loaded

    def find_changed(self) -> list[str]:
        """Return the sites of which another version was put in force since the start of this core."""
        with self.db.read() as c:
            in_force = {summary.id: summary.config_sha256 for summary in load_sites_summary(c)}
        return sorted(site_id for site_id, version in in_force.items() if self._in_force.get(site_id) != version)


def _parse_sources(sources: Mapping[str, str]) -> tuple[list[Site], dict[str, str]]:
    """Return the last good versions of sites, and by site why the last good version cannot be used."""
    sites: list[Site] = []
    problems: dict[str, str] = {}
    for site_id, source in sources.items():
        try:
            sites.append(parse_site(source, f"last good file of {site_id}"))
        except ConfigError as error:
            log.critical("site %s is not watched: %s", site_id, error)
            problems[site_id] = error.message
    return sites, problems


def _find_site_ids(paths: Iterable[Path]) -> set[str]:
    """Return the ids of sites that have a file which cannot be used: its name, and every id that it contains."""
    site_ids: set[str] = set()
    for path in paths:
        if not path.is_file():
            continue
        site_ids.add(path.stem)
        with contextlib.suppress(ConfigError):
            site_ids |= {*re.findall(r'^\s*id\s*=\s*"([a-z0-9-]{1,64})"', read_text(path), re.MULTILINE)}
    return site_ids
