"""A site file that names a pretrained forecaster: trained, issued and kept by its name, or one clear reason."""

import sys
from datetime import timedelta

import pytest
from sqlalchemy import select

from monitor.checks.site_files import CHECKS, SiteFolder
from monitor.config.service import ServiceConfig
from monitor.config.site import parse_site
from monitor.jobs.forecasts import run, train
from monitor.store.alerting.sites import save_site
from monitor.store.models.registry import load_models
from monitor.store.schema.forecasts import forecast, forecast_withheld
from monitor.worker import compute
from tests.data.crossing import cross
from tests.data.forecasts.zero_shot_files import write_files, write_package
from tests.data.store_rows import tell
from tests.integration.forecasting.test_jobs_forecast import SITE, START, fill

CHECK = next(one for one in CHECKS if one.id == "forecasts.zero_shot")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(compute, "run", cross)
    monkeypatch.syspath_prepend(str(write_package(tmp_path / "site")))
    yield write_files(tmp_path / "weights")
    for name in [name for name in sys.modules if name.partition(".")[0] == "fracast"]:
        del sys.modules[name]


def read_site(place):
    return parse_site(
        SITE.replace('models = ["auto", "gru"]', f'models = ["auto"]\nzero_shot = "{place}"'), "jobs.toml"
    )


def list_reasons(database):
    with database.read() as c:
        return {tuple(row) for row in c.execute(select(forecast_withheld.c.model, forecast_withheld.c.reason))}


def test_it_is_trained_issued_and_listed_by_its_own_name(database, place, tmp_path):
    config = ServiceConfig.model_validate({"paths": {"models": f"{tmp_path}/models"}})
    site = read_site(place)
    name = site.forecast.models[-1]
    assert name.startswith("fracast:")
    tell(database, save_site, site, "test", "test", START)
    now = fill(database, site, 160)
    assert f"{name} not trained yet" in run.run(database, config, site, now)
    assert f"{name}: " in train.run(database, config, site, now)
    (row,) = [one for one in database.run_read(load_models, task="forecast", site=site.id) if one.state != "retired"]
    assert (row.kind, row.state) == (name, "candidate")
    run.run(database, config, site, now + timedelta(hours=6))
    with database.read() as c:
        rows = c.execute(select(forecast).where(forecast.c.model == name, ~forecast.c.hindcast)).all()
        past = c.execute(select(forecast).where(forecast.c.model == name, forecast.c.hindcast)).all()
    assert len(rows) == 3 * 2
    assert {(one.model_hash, bool(one.shown)) for one in rows} == {(row.model_hash, False)}
    assert past, "its past is scored as that of a network"
    (row,) = [one for one in database.run_read(load_models, task="forecast", site=site.id) if one.state != "retired"]
    assert row.state == "shadow"
    assert not list(CHECK.find(SiteFolder(config, [site], {})))


def test_a_torn_file_is_said_by_check_and_forecast_job_and_others_go_on(database, place, tmp_path):
    config = ServiceConfig.model_validate({"paths": {"models": f"{tmp_path}/models"}})
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    site, line = read_site(place), f"{weights}: no whole safetensors file; nothing else is read"
    tell(database, save_site, site, "test", "test", START)
    now = fill(database, site, 160)
    run.run(database, config, site, now)
    assert {m: r for m, r in list_reasons(database) if ":" in m} == {"zero-shot:unread": f"not trained: {line}"}
    with database.read() as c:
        assert "auto" in set(c.execute(select(forecast.c.model)).scalars())
    assert line in train.run(database, config, site, now)
    order = train.TrainingOrder("zero-shot:unread")
    assert train.train_one(database, config, site, order, now) == (line, False)
    (found,) = CHECK.find(SiteFolder(config, [site], {}))
    assert found.values["line"] == line
