"""Every job of the table answers one line where nothing is there yet, and the same run again changes nothing."""

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest

from monitor.config.service import ServiceConfig, parse_site
from monitor.service.schedule import DAY_S, JOBS
from monitor.store.alerting.sites import save_site
from monitor.store.job_runs import finish_run, start_run

NOW = datetime(2026, 3, 10, 6, tzinfo=UTC)
SITE = """
[site]
id = "quiet"
name = "Quiet"
latitude = 46.0
longitude = 9.0
[[station]]
id = "G1"
azimuth_deg = 90.0
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1h"
max_silence = "6h"
noise_floor_mm = 1.0
"""


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_on_a_site_without_readings(job, database, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = parse_site(SITE, "quiet.toml")
    paths = {name: str(tmp_path / name) for name in ("sites", "inbox", "models", "state")}
    config = ServiceConfig.model_validate({"paths": paths})
    with database.write() as c:
        save_site(c, site, "test", "test", NOW)
    module, _, name = job.function.partition(":")
    run = getattr(import_module(module), name)
    for _ in range(2):
        with database.write() as c:
            run_id = start_run(c, job.name, site.id if job.per_site else None, NOW)
        said = run(database, config, site if job.per_site else None, NOW)
        assert isinstance(said, str)
        assert said
        assert "\n" not in said
        with database.write() as c:
            finish_run(c, run_id, "done", said, NOW)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_knows_when_it_is_due(job) -> None:
    site = parse_site(SITE, "quiet.toml") if job.per_site else None
    for stage in (None, "creep", "progressive"):
        assert 0.0 < job.pause_s(site, stage) <= DAY_S
    assert 0.0 < job.first_s <= DAY_S
