"""Stories of alarms of the service on both databases: how they begin, survive a restart of the core, and end.

Each story runs the loops of the core with their threads. `tests/end_to_end/trouble` kills the core itself.
"""

import contextlib
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select

from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries.alerts import load_alerts
from monitor.app.core import Core
from monitor.errors import JobError
from monitor.registration import Job
from monitor.settings.service import load_service
from monitor.storage.actor import SERVICE_SITE
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import SITE_TEXT, write_service
from tests.fixtures.databases import ON_BOTH
from tests.fixtures.waiting import wait_for

LATEST_S = 60.0
# Long enough for several checks, and for an evaluation.
SEVERAL_CHECKS_S = 2.5


@pytest.fixture
def jobs(monkeypatch):
    """The jobs `work` of each site. They fail while `jobs.problem` is not empty."""
    jobs = SimpleNamespace(problem="")

    def run(_db, _config, _site, _now):
        if jobs.problem:
            raise JobError(jobs.problem)
        return "worked"

    monkeypatch.setattr("monitor.app.schedule.list_jobs", lambda: (Job("work", run, lambda _: 3600.0, 3600.0),))
    return jobs


@pytest.fixture
def site_folder(database, tmp_path):
    path = write_service(tmp_path, database)
    text = path.read_text() + f'state = "{tmp_path}/state"\ninbox = "{tmp_path}/inbox"\n'
    path.write_text(text + '[broker]\nmode = "external"\n[schedule]\nevaluate_tick = "1s"\n')
    return tmp_path / "sites"


@pytest.fixture
def run_core(tmp_path, site_folder, jobs, monkeypatch):
    """Return a context manager that runs a core: it loads the site files, evaluates sites and watches itself."""
    monkeypatch.setattr("monitor.app.self_monitoring.loop.CHECK_PARTS_EVERY_S", 0.5)

    @contextlib.contextmanager
    def run():
        core = Core(load_service(tmp_path / "slopeward.toml", {}), lambda: datetime.now(UTC))
        try:
            core._prepare_database()
            core._make_parts()
            core.evaluation.start()
            core.self_monitoring.start()
            yield core
        finally:
            if hasattr(core, "self_monitoring"):
                core.self_monitoring.stop(60.0)
                core.evaluation.stop(60.0)
            core.alarms.write_pending()
            core.db.close()

    return run


class OpenAlarm:
    """The open alarm of the service with one key."""

    def __init__(self, database, key):
        self._database, self._key = database, key

    def load(self):
        alarms = ask(self._database, load_alerts, SERVICE_SITE, open_only=True)
        return next((alarm for alarm in alarms if alarm.key == self._key and alarm.level > 0), None)

    def count_messages(self):
        query = select(func.count()).select_from(notification).where(notification.c.alert_id == self.load().id)
        return ask(self._database, lambda connection: connection.execute(query).scalar())

    def wait_until_open(self):
        started_s = time.monotonic()
        alarm = wait_for(self.load, LATEST_S, f"{self._key} to begin")
        print(f"{self._key} was stored after {time.monotonic() - started_s:.1f} s")
        return alarm

    def wait_until_over(self):
        wait_for(lambda: self.load() is None, LATEST_S, f"{self._key} to end")


def store_memory(database, memory):
    tell(database, lambda connection: connection.execute(site_state.update().values(state=memory)))


def load_memory(database):
    return ask(database, lambda connection: connection.execute(select(site_state.c.state)).scalar())


@ON_BOTH
def test_site_that_cannot_be_evaluated_is_an_alarm_until_it_can(database, run_core):
    alarm = OpenAlarm(database, "health:not_evaluated:bench")
    with run_core():
        memory = wait_for(lambda: load_memory(database), LATEST_S, "the first evaluation")
        store_memory(database, '{"votes": 7}')
        opened = alarm.wait_until_open()
        assert opened.level == 2
        assert "site bench cannot be evaluated and its level does not change" in opened.reason
        assert alarm.count_messages() == 2, "one message by each channel of the recipient"
    with run_core() as core:
        wait_for(lambda: core.evaluation.progress() and not core.alarms.pending(), LATEST_S)
        time.sleep(SEVERAL_CHECKS_S)
        assert (alarm.load().id, alarm.count_messages()) == (opened.id, 2), "the same alarm after a restart"
        store_memory(database, '{"votes": 8}')
        time.sleep(SEVERAL_CHECKS_S)
        assert alarm.load().id == opened.id
        store_memory(database, memory)
        alarm.wait_until_over()


@ON_BOTH
def test_job_that_fails_three_times_is_an_alarm_until_it_works(database, run_core, jobs):
    alarm = OpenAlarm(database, "health:job:work:bench")
    with run_core() as core:
        jobs.problem = "the file has no end"
        for _ in range(2):
            core.schedule.run_now("work:bench")
        time.sleep(SEVERAL_CHECKS_S)
        assert alarm.load() is None
        core.schedule.run_now("work:bench")
        opened = alarm.wait_until_open()
        assert opened.level == 1
        assert opened.reason == "job work:bench failed 3 times in a row: the file has no end"
        assert alarm.count_messages() == 2
    with run_core() as core:
        core.schedule.run_now("work:bench")
        time.sleep(SEVERAL_CHECKS_S)
        assert (alarm.load().id, alarm.count_messages()) == (opened.id, 2), "the same alarm after a restart"
        for _ in range(2):
            core.schedule.run_now("work:bench")
        time.sleep(SEVERAL_CHECKS_S)
        assert (alarm.load().id, alarm.count_messages()) == (opened.id, 2), "and after three more failures"
        jobs.problem = ""
        core.schedule.run_now("work:bench")
        alarm.wait_until_over()


@ON_BOTH
def test_site_file_that_cannot_be_used_is_an_alarm_until_it_can(database, run_core, site_folder):
    alarm = OpenAlarm(database, "health:config:bench.toml:unusable")
    with run_core():
        pass
    (site_folder / "bench.toml").write_text("[site]\nid = 'bench'\nnonsense")
    with run_core():
        opened = alarm.wait_until_open()
        assert opened.level == 2
        assert "site file cannot be used" in opened.reason
        assert "bench.toml" in opened.reason
        assert alarm.count_messages() == 2, "by the last good version of the file"
    with run_core():
        time.sleep(SEVERAL_CHECKS_S)
        assert (alarm.load().id, alarm.count_messages()) == (opened.id, 2), "the same alarm after a restart"
    (site_folder / "bench.toml").write_text(SITE_TEXT)
    with run_core():
        alarm.wait_until_over()


@ON_BOTH
def test_site_without_its_file_is_an_alarm_until_the_file_is_back(database, run_core, site_folder):
    alarm = OpenAlarm(database, "health:config:bench:gone")
    with run_core():
        pass
    (site_folder / "bench.toml").unlink()
    with run_core():
        opened = alarm.wait_until_open()
        assert opened.level == 2
        assert "the file of site bench does not exist any more" in opened.reason
        assert alarm.count_messages() == 2
    with run_core():
        time.sleep(SEVERAL_CHECKS_S)
        assert (alarm.load().id, alarm.count_messages()) == (opened.id, 2), "the same alarm after a restart"
    (site_folder / "bench.toml").write_text(SITE_TEXT)
    with run_core():
        alarm.wait_until_over()


@ON_BOTH
def test_missing_folder_of_site_files_is_one_alarm_and_ends_no_other(database, run_core, site_folder):
    file_alarm = OpenAlarm(database, "health:config:bench.toml:unusable")
    folder_alarm = OpenAlarm(database, "health:config:folder")
    with run_core():
        pass
    (site_folder / "bench.toml").write_text("[site]\nid = 'bench'\nnonsense")
    with run_core():
        opened = file_alarm.wait_until_open()
    away = site_folder.rename(site_folder.with_name("away"))
    with run_core() as core:
        assert "is no folder" in folder_alarm.wait_until_open().reason
        time.sleep(SEVERAL_CHECKS_S)
        assert list(core.sites) == ["bench"], "by the last good version of its file"
    assert file_alarm.load().id == opened.id
    assert OpenAlarm(database, "health:config:bench:gone").load() is None
    away.rename(site_folder)
    (site_folder / "bench.toml").write_text(SITE_TEXT)
    with run_core():
        folder_alarm.wait_until_over()
        file_alarm.wait_until_over()
