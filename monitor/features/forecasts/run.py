"""Score the forecasts whose targets were observed, then issue the forecasts of every forecast series of a site."""

from datetime import datetime

from monitor.api.database import Database
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.features.forecasts.issue import issue_forecasts
from monitor.features.forecasts.model_alarms import check_coverage
from monitor.features.forecasts.score import score_targets


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Score what has come, then issue; returns one line that says what was done."""
    rescore(db, config, site, now)
    return issue_forecasts(db, config, site, now)


def rescore(db: Database, _config: ServiceConfig, site: Site, now: datetime) -> str:
    """Score what has come, and check whether intervals hold; returns one line."""
    scored = score_targets(db, site, now)
    check_coverage(db, site, now)
    return scored
