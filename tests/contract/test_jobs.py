"""Every job of the table answers one line where nothing is there yet; every task of a worker keeps to its records."""

import inspect
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest

from monitor.cli.service import map as map_files
from monitor.config.service import ServiceConfig, parse_site
from monitor.ingest.files.sandboxed_conversion import CONVERT
from monitor.ingest.sources.tasks import FETCH
from monitor.jobs import anomaly, point_forecasts, points
from monitor.jobs.forecasts.tasks import (
    FORECAST_SITE,
    HINDCAST_SITE,
    SPLIT_SEASONS,
    TRAIN_DETECTOR,
    TRAIN_FORECASTER,
)
from monitor.jobs.scenes.files import MAKE_FILES
from monitor.jobs.scenes.tasks import DRAW_STRIP, READ_ONE
from monitor.jobs.scenes.tiles import CUT
from monitor.reports.pdf import PRINT
from monitor.service.schedule import DAY_S, JOBS, trigger_of
from monitor.simulate.scene import DRAW
from monitor.store.alerting.sites import save_site
from monitor.store.service_state import finish_run, start_run
from monitor.web.routes.acts import RECOMPUTE
from monitor.web.routes.photos import DEVELOP
from monitor.web.uploads.processing import FORECAST_JOB, LEVEL_JOB, UNDERSTAND
from monitor.worker.records import RecordError, read_record
from monitor.worker.sandbox import DESCRIBE

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


TASKS = (
    FORECAST_SITE,
    HINDCAST_SITE,
    SPLIT_SEASONS,
    TRAIN_FORECASTER,
    TRAIN_DETECTOR,
    anomaly.SCORE,
    points.COUNT,
    points.FIND_ALARMS,
    point_forecasts.CHOOSE,
    point_forecasts.FORECAST,
    READ_ONE,
    CUT,
    MAKE_FILES,
    DRAW_STRIP,
    DRAW,
    DESCRIBE,
    FETCH,
    CONVERT,
    UNDERSTAND,
    LEVEL_JOB,
    FORECAST_JOB,
    PRINT,
    DEVELOP,
    RECOMPUTE,
    map_files.TAKE,
    map_files.DRAW,
    map_files.PICTURE,
)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.function)
def test_what_a_worker_takes_and_gives_is_what_was_agreed(task) -> None:
    module, _, name = task.function.partition(":")
    function = getattr(import_module(module), name)
    hints = get_type_hints(function)
    asks = next(hints[parameter] for parameter in inspect.signature(function).parameters)
    assert (asks, hints["return"]) == (task.asks, task.answers)
    with pytest.raises(RecordError):  # and its record can be read at all
        read_record(task.answers, {"no such key": 1})


def test_every_task_is_looked_at() -> None:
    root = Path(__file__).resolve().parents[2]
    made = sum(path.read_text().count("= WorkerTask(") for path in (root / "monitor").rglob("*.py"))
    assert made == len(TASKS)


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


def test_work_of_the_night_is_due_at_the_hour_of_the_site() -> None:
    """01:00 in Santiago is 04:00 UTC in summer, and 05:00 in winter."""
    site = parse_site(SITE.replace("[site]", '[site]\ntimezone = "America/Santiago"', 1), "quiet.toml")
    (job,) = [one for one in JOBS if one.name == "season"]
    due = trigger_of(job, site, DAY_S)
    assert due.get_next_fire_time(None, datetime(2026, 1, 10, 12, tzinfo=UTC)) == datetime(2026, 1, 11, 4, tzinfo=UTC)
    assert due.get_next_fire_time(None, datetime(2026, 7, 10, 12, tzinfo=UTC)) == datetime(2026, 7, 11, 5, tzinfo=UTC)
