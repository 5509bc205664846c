"""Load the site file that is in force. Files are parsed once per process, because a version never changes."""

from functools import lru_cache

from sqlalchemy import Connection

from monitor.errors import ConfigError, NotFoundError
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source
from monitor.sites.records import Site


def find_declaration(c: Connection, config_sha256: str) -> Site | None:
    """Return the site that a stored site file declares; None if this version of the program cannot read the file."""
    try:
        return _parse(config_sha256, load_site_source(c, config_sha256))
    except (ConfigError, NotFoundError):
        return None


@lru_cache(maxsize=1000)
def _parse(config_sha256: str, source: str) -> Site:
    return parse_site(source, config_sha256[:12])
