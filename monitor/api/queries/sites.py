"""What the database holds: sites: the records of a site file, its parsing, places and quantities."""

from monitor.sites.queries.sites import (
    SiteSummary,  # name, position, levels and file hash of a site, for lists
    find_version,  # return the hash of the site file in force, or None
    find_version_at,  # return the hash of the site file in force at an instant; raises NotFoundError
    load_proposals,  # load proposed site files that are undecided, or all, oldest first
    load_site_source,  # load the text of a site file by its hash; raises NotFoundError
    load_sites_summary,  # load summaries of active or all sites, by id
)

__all__ = [
    "SiteSummary",
    "find_version",
    "find_version_at",
    "load_proposals",
    "load_site_source",
    "load_sites_summary",
]
