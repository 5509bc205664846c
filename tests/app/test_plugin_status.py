"""A failing plugin degrades the service and opens a notice, which ends with the failure."""

import threading
import time

import pytest

from monitor import plugin_isolation
from monitor.app.checks.plugins import PluginStatus
from monitor.app.checks.table import run_checks
from monitor.app.self_monitoring.conditions import AlarmConditions
from monitor.hookspecs import hookimpl
from monitor.plugin_isolation import PluginFault, contain, list_faults
from monitor.registration import Job


class RecordedAlarms:
    def __init__(self):
        self.opened, self.cleared = [], []

    def open(self, key, reason, level):
        self.opened.append((key, str(reason), level))

    def clear(self, key, _reason):
        self.cleared.append(key)


@pytest.fixture(autouse=True)
def forget_faults(monkeypatch):
    monkeypatch.setattr(plugin_isolation, "_faults", {})
    monkeypatch.setattr(plugin_isolation, "_hanging", {})


@pytest.mark.parametrize(("what", "key"), [("plugin", "plugins:disabled:bell"), ("map_zones", "plugins:failing:bell")])
def test_fault_of_a_plugin_is_a_notice_until_it_ends(what, key):
    alarms = RecordedAlarms()
    conditions = AlarmConditions(alarms)
    conditions.update(run_checks(PluginStatus([PluginFault("bell", what, "it broke")])), 0.0)
    assert [(key, level) for key, _, level in alarms.opened] == [(key, 1)]
    (line,) = conditions.degraded()
    assert "plugin bell" in line
    assert "it broke" in line
    conditions.update(run_checks(PluginStatus([])), 10.0)
    assert key in alarms.cleared
    assert not conditions.degraded()


def test_successful_call_ends_the_fault():
    results = [RuntimeError("once"), []]

    @hookimpl
    def map_zones():
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    call = contain("bell", "map_zones", map_zones)
    assert call() is None
    assert list_faults() == [PluginFault("bell", "map_zones", "RuntimeError: once")]
    assert call() == []
    assert list_faults() == []


def test_hanging_hook_is_not_called_again(monkeypatch):
    monkeypatch.setitem(plugin_isolation.LIMITS_S, "map_zones", 0.2)
    go_on, calls = threading.Event(), []

    def map_zones():
        calls.append(1)
        go_on.wait(30.0)
        return []

    call = contain("bell", "map_zones", map_zones)
    started_s = time.monotonic()
    assert call() is None
    assert call() is None
    assert time.monotonic() - started_s < 20.0
    assert len(calls) == 1
    (fault,) = list_faults()
    assert fault.reason == "a call did not return within 0.2 s and still hangs"
    go_on.set()
    plugin_isolation._hanging["bell", "map_zones"].join()
    assert call() == []
    assert list_faults() == []


def test_jobs_of_a_plugin_have_their_own_thread():
    job = Job("ring", str, lambda _site: 60.0, 5.0, light=True)
    (registered,) = contain("bell", "register_jobs", lambda: [job])()
    assert job.lane == "light"
    assert registered.lane == "plugin bell"
