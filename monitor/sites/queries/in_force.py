"""Load the site file in force."""

from sqlalchemy import Connection

from monitor.errors import ConfigError, NotFoundError
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import find_version, load_site_source
from monitor.sites.records import Site


def find_in_force(c: Connection, site_id: str) -> Site | None:
    """Return the site file in force; None before the first one, or if this version cannot read it."""
    version = find_version(c, site_id)
    if version is None:
        return None
    try:
        return parse_site(load_site_source(c, version), f"version {version[:12]} of {site_id}")
    except (ConfigError, NotFoundError):
        return None
