"""Sites: the records of a site file, its parsing, places and quantities."""

from monitor.sites.files import (
    scan_sites,  # reads all site files of a folder; returns the sites and the errors by file
)
from monitor.sites.parsing import (
    parse_site,  # reads the text of a site file
)
from monitor.sites.records import (
    Binding,  # one `[[decoder]]` of a site file
    Site,  # one slope, as its site file describes it
)

__all__ = [
    "Binding",
    "Site",
    "parse_site",
    "scan_sites",
]
