"""Score the forecasts whose targets were observed, and issue the forecasts of a site."""

from datetime import datetime

from monitor.api.database import Database
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.features.forecasts.issue import issue_forecasts
from monitor.features.forecasts.model_alarms import check_coverage
from monitor.features.forecasts.score import score_targets


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Score the observed targets, then issue forecasts. Return one line that says what was issued."""
    score_observed(db, config, site, now)
    return issue_forecasts(db, config, site, now)


def score_observed(db: Database, _config: ServiceConfig, site: Site, now: datetime) -> str:
    """Score the observed targets, and check how often intervals contain the observation. Return one line.

    The scheduler calls every job with the configuration, which this job does not need.
    """
    scored = score_targets(db, site, now)
    check_coverage(db, site, now)
    return scored
