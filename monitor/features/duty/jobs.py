"""The job that writes who is on duty, day by day, into the table behind the view `duty`."""

from datetime import datetime

from monitor.api.database import Database
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.features.duty.queries import write_days


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:
    """Write the days of the coming weeks for each team of a site. Days in the past do not change."""
    del config
    if site is None or not site.teams:
        return "no team"
    with db.write() as c:
        rows = sum(write_days(c, team, now) for team in site.teams)
    return f"{len(site.teams)} teams, {rows} new rows"
