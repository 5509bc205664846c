"""Read the site files of a folder."""

import logging
from pathlib import Path

from monitor.errors import ConfigError
from monitor.sections import read_text
from monitor.sites.parsing import find_weaknesses, parse_site
from monitor.sites.records import Site

log = logging.getLogger(__name__)


def load_site(path: str | Path) -> Site:
    """Read one site file; what it allows but should be known is logged as a warning.

    Raises:
        ConfigError: one line with the file, the key and what was expected.
    """
    site = parse_site(read_text(Path(path)), str(path))
    for weakness in find_weaknesses(site):
        log.warning("%s: %s", path, weakness)
    return site


def scan_sites(folder: str | Path) -> tuple[list[Site], dict[Path, ConfigError]]:
    """Read every `*.toml` of a folder; those that cannot be used come back apart and do not stop the others.

    Raises:
        ConfigError: the folder itself does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"paths.sites: expected a folder with site files, {folder} is none")
    sites: dict[str, Site] = {}
    failures: dict[Path, ConfigError] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            site = load_site(path)
            if site.id in sites:
                raise ConfigError(f"{path}: site.id: {site.id!r} is used by another file of {folder}")
            sites[site.id] = site
        except ConfigError as error:
            failures[path] = error
    return list(sites.values()), failures
