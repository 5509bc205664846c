"""The job that writes down, day by day, who is on duty: what the view `duty` shows for the weeks to come."""

from datetime import datetime

from monitor.api.database import Database
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.features.duty.queries import lay_out


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:
    """Lay out the days of each team of the site; what has passed stays as it was."""
    del config
    if site is None or not site.teams:
        return "no team"
    with db.write() as c:
        rows = sum(lay_out(c, team, now) for team in site.teams)
    return f"{len(site.teams)} teams, {rows} new rows"
