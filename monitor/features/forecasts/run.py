"""Forecast every displacement series of a site with every model of its plan; the newest scores say what is shown.

Between issues scores are taken as well: what they were worth decides what is shown, in the same run.
"""

from datetime import datetime

from monitor.api.database import Database
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from monitor.features.forecasts.issue import issue_forecasts
from monitor.features.forecasts.promotion import assess_models
from monitor.features.forecasts.score import score_targets


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Score what has come, judge the models by it, then issue; returns one line that says what was done."""
    score_targets(db, site, now)
    changes, _ = assess_models(db, config, site, now)
    return "; ".join([issue_forecasts(db, config, site, now), *changes])


def rescore(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Score, judge the models, and issue again at once when one that was shown fell; returns one line."""
    scored = score_targets(db, site, now)
    changes, fallen = assess_models(db, config, site, now)
    again = [issue_forecasts(db, config, site, now)] if fallen else []
    return "; ".join([scored, *changes, *again])
