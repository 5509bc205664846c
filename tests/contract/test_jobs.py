"""Every job of the table answers one line where nothing is there yet; every task of a worker keeps to its records."""

import inspect
import re
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest

from monitor.app.schedule import DAY_S, list_jobs, make_trigger
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.service_state import finish_run, start_run
from monitor.worker.records import RecordError, plain_to_record
from tests.tables import tabulated

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


def list_tasks():
    """Every task that a module of the program makes."""
    root = Path(__file__).resolve().parents[2]
    for path in sorted((root / "monitor").rglob("*.py")):
        for name in re.findall(r"^(\w+).* = WorkerTask\(", path.read_text(), re.MULTILINE):
            module = import_module(".".join(path.relative_to(root).with_suffix("").parts))
            yield getattr(module, name)


@tabulated("task", list(list_tasks()))
def test_what_a_worker_takes_and_gives_is_what_was_agreed(task) -> None:
    module, _, name = task.function.partition(":")
    function = getattr(import_module(module), name)
    hints = get_type_hints(function)
    asks = next(hints[parameter] for parameter in inspect.signature(function).parameters)
    assert (asks, hints["return"]) == (task.request_type, task.result_type)
    with pytest.raises(RecordError):  # and its record can be read at all
        plain_to_record(task.result_type, {"no such key": 1})


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("job", list_jobs(), ids=lambda job: job.name)
def test_a_job_on_a_site_without_readings(job, database, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = parse_site(SITE, "quiet.toml")
    paths = {name: str(tmp_path / name) for name in ("sites", "inbox", "models", "state")}
    config = ServiceConfig.model_validate({"paths": paths})
    with database.write() as c:
        save_site(c, site, "test", "test", NOW)
    for _ in range(2):
        with database.write() as c:
            run_id = start_run(c, job.name, site.id if job.per_site else None, NOW)
        said = job.run(database, config, site if job.per_site else None, NOW)
        assert isinstance(said, str)
        assert said
        assert "\n" not in said
        with database.write() as c:
            finish_run(c, run_id, "done", said, NOW)


@tabulated("job", list_jobs())
def test_a_job_knows_when_it_is_due(job) -> None:
    site = parse_site(SITE, "quiet.toml") if job.per_site else None
    for stage in (None, "creep", "progressive"):
        assert 0.0 < job.pause_s(site, stage) <= DAY_S
    assert 0.0 < job.first_s <= DAY_S


def test_work_of_the_night_is_due_at_the_hour_of_the_site() -> None:
    """01:00 in Santiago is 04:00 UTC in summer, and 05:00 in winter."""
    site = parse_site(SITE.replace("[site]", '[site]\ntimezone = "America/Santiago"', 1), "quiet.toml")
    (job,) = [one for one in list_jobs() if one.name == "season"]
    due = make_trigger(job, site, DAY_S)
    assert due.get_next_fire_time(None, datetime(2026, 1, 10, 12, tzinfo=UTC)) == datetime(2026, 1, 11, 4, tzinfo=UTC)
    assert due.get_next_fire_time(None, datetime(2026, 7, 10, 12, tzinfo=UTC)) == datetime(2026, 7, 11, 5, tzinfo=UTC)
