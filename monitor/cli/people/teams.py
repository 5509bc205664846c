"""The team that a verb is about, of the site file in force, and the options that name it."""

from typing import Annotated

import typer
from sqlalchemy import Connection

from monitor.alerting.acts.change_control import find_in_force
from monitor.cli.session import check_site
from monitor.domain.errors import NotFoundError
from monitor.domain.site import Site

SiteName = Annotated[str, typer.Argument(metavar="SITE", help="Site")]
TeamOption = Annotated[str | None, typer.Option("--team", help="Team; needed where the site has several")]


def find_site(c: Connection, site: str) -> Site:
    """The site as it is in force; raises NotFoundError."""
    found = find_in_force(c, site)
    if found is None:
        check_site(c, site)
        raise NotFoundError(
            f"site {site!r} is not in force yet: start the service, or run `slopeward evaluate --site {site}`"
        )
    return found
