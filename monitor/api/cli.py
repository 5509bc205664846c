"""The command line: options, sessions and output that commands share."""

from monitor.cli.identity import (
    By,  # type of the option `--by`
    prove,  # returns who acts, and opens the database for writing
)
from monitor.cli.session import (
    Commands,  # commands with the options `--config` and `--json`
    SiteOption,  # type of the option `--site`
    open_site,  # returns the service file, the open database and a site
    show,  # prints one result, as text or as JSON
)

__all__ = [
    "By",
    "Commands",
    "SiteOption",
    "open_site",
    "prove",
    "show",
]
