"""Read the site files of a folder."""

import logging
from pathlib import Path

from monitor.errors import ConfigError
from monitor.sections import read_text
from monitor.sites.parsing import find_weaknesses, parse_site
from monitor.sites.records import Site

log = logging.getLogger(__name__)


def load_site(path: str | Path) -> Site:
    """Read one site file. Weaknesses of a valid file are logged as warnings.

    Raises:
        ConfigError: the file has faults.
    """
    site = parse_site(read_text(Path(path)), str(path))
    for weakness in find_weaknesses(site):
        log.warning("%s: %s", path, weakness)
    return site


def scan_sites(folder: str | Path) -> tuple[list[Site], dict[Path, ConfigError]]:
    """Read every `*.toml` of a folder. Return the sites, and the errors of files that cannot be used.

    Raises:
        ConfigError: the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"paths.sites: {folder} is no folder; create it, or correct paths.sites")
    sites: dict[str, Site] = {}
    failures: dict[Path, ConfigError] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            site = load_site(path)
            if site.id in sites:
                raise ConfigError(
                    f"{path}: site.id: {site.id!r} is the id of another file in this folder; choose another"
                )
            sites[site.id] = site
        except ConfigError as error:
            failures[path] = error
    return list(sites.values()), failures
