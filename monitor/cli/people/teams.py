"""The team that a verb is about, of the site file in force, and the options that name it."""

from typing import Annotated

import typer
from sqlalchemy import Connection

from monitor.alerting.acts.change_control import find_in_force
from monitor.cli.session import check_site
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.domain.site import Site, Team

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


def pick_team(site: Site, team: str | None) -> Team:
    """The team of that name, or the only one; raises RefusedError or NotFoundError."""
    names = [one.name for one in site.teams]
    if not names:
        raise RefusedError(f"site {site.id} has no [[team]]; declare one in its site file first")
    if team is None and len(names) > 1:
        raise RefusedError(f"--team: one of {', '.join(names)}")
    found = next((one for one in site.teams if team in {None, one.name}), None)
    if found is None:
        raise NotFoundError(f"site {site.id} has no team {team!r}; it has: {', '.join(names)}")
    return found
