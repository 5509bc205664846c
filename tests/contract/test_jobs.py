"""Every job returns one line for a site without data, and every worker task has the declared record types."""

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
    """Yield every worker task that a module of the program defines."""
    root = Path(__file__).resolve().parents[2]
    for path in sorted((root / "monitor").rglob("*.py")):
        for name in re.findall(r"^(\w+).* = WorkerTask\(", path.read_text(), re.MULTILINE):
            module = import_module(".".join(path.relative_to(root).with_suffix("").parts))
            yield getattr(module, name)


@tabulated("task", list(list_tasks()))
def test_worker_task_has_the_types_of_its_function(task) -> None:
    module, _, name = task.function.partition(":")
    function = getattr(import_module(module), name)
    hints = get_type_hints(function)
    request_type = next(hints[parameter] for parameter in inspect.signature(function).parameters)
    assert (request_type, hints["return"]) == (task.request_type, task.result_type)
    with pytest.raises(RecordError):  # the result type can be deserialised
        plain_to_record(task.result_type, {"no such key": 1})


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("job", list_jobs(), ids=lambda job: job.name)
def test_job_returns_one_line_for_a_site_without_readings(job, database, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = parse_site(SITE, "quiet.toml")
    paths = {name: str(tmp_path / name) for name in ("sites", "inbox", "models", "state")}
    config = ServiceConfig.model_validate({"paths": paths})
    with database.write() as c:
        save_site(c, site, "test", "test", NOW)
    for _ in range(2):
        with database.write() as c:
            run_id = start_run(c, job.name, site.id if job.per_site else None, NOW)
        summary = job.run(database, config, site if job.per_site else None, NOW)
        assert isinstance(summary, str)
        assert summary
        assert "\n" not in summary
        with database.write() as c:
            finish_run(c, run_id, "done", summary, NOW)


@tabulated("job", list_jobs())
def test_intervals_of_a_job_are_at_most_a_day(job) -> None:
    site = parse_site(SITE, "quiet.toml") if job.per_site else None
    for stage in (None, "creep", "progressive"):
        assert 0.0 < job.pause_s(site, stage) <= DAY_S
    assert 0.0 < job.first_s <= DAY_S


def test_nightly_job_is_due_at_local_time_of_the_site() -> None:
    """01:00 in Santiago is 04:00 UTC in summer, and 05:00 in winter."""
    site = parse_site(SITE.replace("[site]", '[site]\ntimezone = "America/Santiago"', 1), "quiet.toml")
    (job,) = [candidate for candidate in list_jobs() if candidate.name == "season"]
    due = make_trigger(job, site, DAY_S)
    assert due.get_next_fire_time(None, datetime(2026, 1, 10, 12, tzinfo=UTC)) == datetime(2026, 1, 11, 4, tzinfo=UTC)
    assert due.get_next_fire_time(None, datetime(2026, 7, 10, 12, tzinfo=UTC)) == datetime(2026, 7, 11, 5, tzinfo=UTC)
