"""SARIMAX and unobserved components of a site, fitted every night; issues by day use what was found."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from forecasting.registry import STATISTICAL
from forecasting.simple.night_fit import ENDED, NightFit
from monitor.config.service import ServiceConfig
from monitor.domain.site import Site
from monitor.extras import describe_missing, is_installed
from monitor.jobs.forecasts.read_site import read_site
from monitor.jobs.forecasts.tasks import REFIT, RefitAsked
from monitor.jobs.worker import refuse_strange, run_in_worker
from monitor.store.database.engine import Database
from monitor.store.models.forecasts import FitRow, load_fits, save_fits

FRESH: Final = timedelta(hours=20)
"""A start by day does not repeat the work of the night."""


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Fit what was not fitted tonight; returns one line."""
    return refit_site(db, config, site, now, FRESH)


def refit_site(db: Database, config: ServiceConfig, site: Site, now: datetime, fresh: timedelta = timedelta(0)) -> str:
    """Fit every statistical model of a site whose newest try is older than `fresh`; returns one line."""
    models = tuple(m for m in site.forecast.models if m in STATISTICAL)
    if not models:
        return "nothing to fit: the site names neither sarimax nor uc"
    with db.read() as c:
        before = {(row.series_id, row.fit.model): row for row in load_fits(c, site.id)}
        found = read_site(c, site, now, models)
    if found is None:
        return "no recent displacement readings"
    tried = [row.tried_at for row in before.values() if row.fit.model in models]
    asked = {(s.series_id, m) for s in found.samples for m in models}
    if asked <= set(before) and tried and now - min(tried) < fresh:
        return "fitted already tonight"
    if not (config.compute.dask or is_installed("statsmodels")):
        return describe_missing("statsmodels")
    answer = run_in_worker(config.compute, REFIT, RefitAsked(found.record, tuple(site.forecast.horizons_s), models))
    by_label = {s.label: s.series_id for s in found.samples}
    refuse_strange((one.station for one in answer.fits), by_label)
    rows = [
        keep_better(before.get((by_label[one.station], one.model)), FitRow(by_label[one.station], one, now, now, ""))
        for one in answer.fits
    ]
    db.do(save_fits, rows)
    new = sum(row.fitted_at == now and bool(row.fit.params) for row in rows)
    parts = [f"{new} of {len(rows)} fits are new"]
    parts += [f"{model} in {answer.seconds[model]:.1f} s" for model in models if model in answer.seconds]
    parts += [f"{model} failed: {why}" for model, why in answer.refused.items()]
    return "; ".join(parts)


def keep_better(before: FitRow | None, new: FitRow) -> FitRow:
    """What is kept of a night: the new parameters, unless there are none, or they did not settle and older ones did."""
    if new.fit.params and new.fit.settled:
        return new
    why = ENDED if new.fit.params else new.fit.reason
    if before is None or not before.fit.params or (new.fit.params and not before.fit.settled):
        return replace(new, reason=why)
    return replace(before, tried_at=new.tried_at, reason=why)


def age(row: FitRow, now: datetime) -> NightFit:
    """The parameters as an issue is given them."""
    return replace(row.fit, age_s=(now - row.fitted_at).total_seconds())
