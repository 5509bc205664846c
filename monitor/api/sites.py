"""Sites: the records of a site file, its parsing, places and quantities."""

from monitor.sites.files import (
    scan_sites,  # reads all site files of a folder; returns the sites and the errors by file
)
from monitor.sites.parsing import (
    parse_site,  # reads the text of a site file
)
from monitor.sites.records import (
    Binding,  # one `[[decoder]]` of a site file
    Criterion,  # one `[[criterion]]` of a site file
    SeriesSpec,  # one series of a site file
    Site,  # one slope, as its site file describes it
    Station,  # one station of a site file
)

__all__ = [
    "Binding",
    "Criterion",
    "SeriesSpec",
    "Site",
    "Station",
    "parse_site",
    "scan_sites",
]
