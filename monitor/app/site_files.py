"""Load the site files that the core uses.

A file that is missing, invalid or not approved is replaced by the last good version, and an alarm names it.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from monitor.alerts.acts.change_control import (
    SiteFileInForce,
    explain_refusal,
    explain_unread,
    find_file,
    load_into_force,
)
from monitor.app.self_monitoring.alarms import ServiceAlarms
from monitor.errors import ConfigError
from monitor.sections import read_text
from monitor.settings.service import ServiceConfig
from monitor.sites.files import scan_sites
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source, load_sites_summary
from monitor.sites.records import Site
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.engine import Database
from monitor.text.message import Template

_UNUSABLE: Final = Template("service.site_file.unusable", "site file cannot be used: {problem}")
_GONE: Final = Template(
    "service.site_file.gone",
    "the file of site {site} does not exist any more; the last version stays in force (to end the site: `slopeward "
    "sites retire {site2}`)",
)
_NOT_WATCHED: Final = Template(
    "service.site_file.not_watched",
    "site {site} is NOT watched: neither its file nor the last good one can be used: {problem}",
)
_USABLE: Final = Template("service.site_file.usable", "the site file can be used again")
_WATCHED: Final = Template("service.site_file.watched", "the site is watched again")
_BACK: Final = Template("service.site_file.back", "the site file is back")
_READABLE: Final = Template("service.site_file.readable", "the version in force can be read")
_IN_FORCE: Final = Template("service.site_file.in_force", "the site file is the one in force")

log = logging.getLogger(__name__)


class SitesInForce:
    """Load the site files at the start, and find sites of which another version was put in force later.

    A file that changes after the start has no effect until somebody puts it in force or the core starts again.
    """

    def __init__(
        self, db: Database, config: ServiceConfig, alarms: ServiceAlarms, clock: Callable[[], datetime]
    ) -> None:
        self.db = db
        self.config = config
        self.alarms = alarms
        self.clock = clock
        # Version by site, as loaded at the start.
        self._in_force: dict[str, str] = {}

    def load(self) -> list[Site]:
        """Return the sites to watch, and start or end the alarms of their files."""
        folder = self.config.paths.sites
        try:
            sites, failures = scan_sites(folder)
        except ConfigError as error:
            sites, failures = [], {folder: error}
        site_ids = {site.id for site in sites}
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
                if site_id not in site_ids
            }
        for site in sites:
            self._report_refused(results[site.id], site.version)
        sites = [results[site.id].site for site in sites]
        for path, failure in failures.items():
            log.error("%s", failure)
            self.alarms.open(f"config:{path.name}", _UNUSABLE(problem=failure.message), level=2)
        sites += self._load_last_good(sources, failures)
        self._clear_alarms(sites, site_ids, failures)
        log.info("watching %d site(s): %s", len(sites), ", ".join(s.id for s in sites) or "none")
        return sites

    def _load_last_good(self, sources: Mapping[str, str], failures: Collection[Path]) -> Iterator[Site]:
        # A file that cannot be parsed exists, so the file of its site is not missing.
        sites_with_file = {name for path in failures if path.is_file() for name in _find_names(path)}
        for site_id, source in sources.items():
            if site_id not in sites_with_file and self.config.paths.sites not in failures:
                self.alarms.open(f"config:{site_id}", _GONE(site=site_id, site2=site_id), level=2)
            try:
                yield parse_site(source, f"last good file of {site_id}")
            except ConfigError as error:
                log.critical("site %s is not watched: %s", site_id, error)
                not_watched = _NOT_WATCHED(site=site_id, problem=error.message)
                self.alarms.open(f"config:{site_id}:unwatched", not_watched, level=2)

    def _clear_alarms(self, sites: Iterable[Site], site_ids: Collection[str], failures: Collection[Path]) -> None:
        folder = self.config.paths.sites
        names = {path.name for path in folder.glob("*.toml")} if folder.is_dir() else set[str]()
        for name in names - {path.name for path in failures}:
            self.alarms.clear(f"config:{name}", _USABLE())
        for site in sites:
            self.alarms.clear(f"config:{site.id}:unwatched", _WATCHED())
            if site.id in site_ids:
                self.alarms.clear(f"config:{site.id}", _BACK())

    def find_changed(self) -> list[str]:
        """Return the sites of which another version was put in force since the start of this core."""
        with self.db.read() as c:
            in_force = {summary.id: summary.config_sha256 for summary in load_sites_summary(c)}
        return sorted(site_id for site_id, version in in_force.items() if self._in_force.get(site_id) != version)

    def _report_refused(self, result: SiteFileInForce, version: str) -> None:
        """Raise an alarm if a file is not in force, because it could lower a high level and nobody approved it."""
        unread = f"config:{result.site.id}:unread"
        if result.unread:
            log.error("%s", explain_unread(result))
            self.alarms.open(unread, explain_unread(result), level=2)
        else:
            self.alarms.clear(unread, _READABLE())
        key = f"config:{result.site.id}:unapproved"
        if not result.loosens:
            self.alarms.clear(key, _IN_FORCE())
            return
        folder = self.config.paths.sites
        line = explain_refusal(result, str(find_file(folder, version) or folder))
        log.error("%s", line)
        self.alarms.open(key, line, level=2)


def _find_names(path: Path) -> list[str]:
    try:
        text = read_text(path)
    except ConfigError:
        return [path.stem]
    return [path.stem, *re.findall(r'^\s*id\s*=\s*"([a-z0-9-]{1,64})"', text, re.MULTILINE)]
