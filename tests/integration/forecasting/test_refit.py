"""Statistical models are fitted by night; issues by day use what is kept, say its age, and withhold what is too old."""

from datetime import timedelta

import numpy as np
import pytest

from monitor.config.service import ServiceConfig, parse_site
from monitor.domain.instants import parse
from monitor.domain.observation import Observation
from monitor.jobs.forecasts import issue, refit, worker
from monitor.jobs.forecasts.tasks import REFIT
from monitor.store.alerting.sites import save_site
from monitor.store.readings.observations import add_observations
from monitor.store.schema.views import load_view
from tests.integration.alerting.test_instruments import HEAD, STATION

pytest.importorskip("statsmodels")
NOW = parse("2026-03-15T12:00:00Z")
DAY = timedelta(days=1)
PLAN = """
[forecast]
models = ["sarimax"]
horizons = ["1d"]
"""
DAILY = STATION.format("G1").replace('interval = "6h"', 'interval = "1d"').replace('silence = "1d"', 'silence = "3d"')
SITE = parse_site(HEAD + PLAN + DAILY, "bench.toml")


def ask(plan, task, asked, **more):
    """The worker in this process."""
    return worker.refit_site(asked) if task is REFIT else worker.forecast_site(asked)


def ask_all(plan, task, questions, **more):
    """The same for many records."""
    return (ask(plan, task, asked, **more) for asked in questions)


def readings(last, count=120):
    walk = np.cumsum(np.random.default_rng(5).normal(0.3, 0.4, 400))
    for k in range(count):
        at = last - DAY * k
        day = (at - NOW) // DAY
        yield Observation("bench", "G1", "displacement_downslope", "mm", at, at, float(walk[300 + day]))


@pytest.fixture
def bench(database, monkeypatch):
    monkeypatch.setattr(refit, "run_in_worker", ask)
    monkeypatch.setattr(issue, "run_all_in_workers", ask_all)
    with database.write() as c:
        save_site(c, SITE, "test", "test", NOW - 130 * DAY)
        add_observations(c, list(readings(NOW)), NOW)
    return database


def see(db, name="model_fits", **more):
    with db.read() as c:
        return load_view(c, name, site="bench", **more)


def test_an_issue_by_day_uses_what_the_night_found_says_its_age_and_withholds_what_is_too_old(bench, monkeypatch):
    assert refit.run(bench, ServiceConfig(), SITE, NOW).startswith("1 of 1 fits are new; sarimax in ")
    assert refit.run(bench, ServiceConfig(), SITE, NOW + timedelta(hours=5)) == "fitted already tonight"
    (kept,) = see(bench)
    assert (kept["fitted_at"], kept["tried_at"], kept["drivers"]) == ("2026-03-15T12:00:00.000000Z",) * 2 + ("",)

    def refuse(*_):
        raise AssertionError("an issue by day fits nothing")

    monkeypatch.setattr("forecasting.simple.state_space._fit_one", refuse)
    issue.issue_forecasts(bench, ServiceConfig(), SITE, NOW)
    (row,) = see(bench, "latest_forecast", model="sarimax")
    assert "old" not in row["reason"]
    # three nights find nothing: the last parameters serve, with their age
    fail = lambda *_: ((), False)  # noqa: E731
    monkeypatch.setattr("forecasting.simple.state_space._fit_one", fail)
    for days in (3, 8):
        now = NOW + days * DAY
        with bench.write() as c:
            add_observations(c, list(readings(now, 8)), now)
        assert refit.run(bench, ServiceConfig(), SITE, now).startswith("0 of 1 fits are new")
        (kept,) = see(bench)
        assert (kept["fitted_at"][:10], kept["reason"]) == ("2026-03-15", "no parameters could be found")
        issue.issue_forecasts(bench, ServiceConfig(), SITE, now)
        if days == 3:
            (row,) = [r for r in see(bench, "latest_forecast", model="sarimax") if r["issued_at"][:10] == "2026-03-18"]
            assert "its parameters are 3 d old" in row["reason"]
    assert see(bench, "latest_forecast", model="sarimax")[0]["issued_at"][:10] == "2026-03-18", "withheld since"


def test_a_night_keeps_settled_parameters_where_new_ones_did_not_settle():
    from forecasting.simple.night_fit import NightFit
    from monitor.jobs.forecasts.refit import keep_better
    from monitor.store.models.forecasts import FitRow

    def row(params, at, *, settled):
        fit = NightFit("A", "uc", 0.0, 86400.0, 100, 0, (), params, settled=settled, reason="", statsmodels="0")
        return FitRow(1, fit, at, at, "")

    old, later = row((1.0,), NOW, settled=True), NOW + DAY
    kept = keep_better(old, row((2.0,), later, settled=False))
    assert (kept.fit.params, kept.fitted_at, kept.tried_at) == ((1.0,), NOW, later)
    assert kept.reason == "its fit was ended before its best"
    assert keep_better(old, row((2.0,), later, settled=True)).fit.params == (2.0,)
    assert keep_better(None, row((2.0,), later, settled=False)).fit.params == (2.0,)
    assert keep_better(row((1.0,), NOW, settled=False), row((2.0,), later, settled=False)).fit.params == (2.0,)


def test_a_site_that_names_no_such_model_has_nothing_to_fit(database):
    site = parse_site(HEAD + STATION.format("G1"), "bench.toml")
    assert refit.run(database, ServiceConfig(), site, NOW).startswith("nothing to fit")
