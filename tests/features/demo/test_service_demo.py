"""The demonstration, shortened: everything a newcomer shall see is in the database, and nothing stays behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest

from monitor.features.demo import demo
from tests.data.running import hide_mosquitto, hurry_services
from tests.fixtures.soak import with_soak

pytestmark = [pytest.mark.server, pytest.mark.slow]
SHORT = """
import sys
from datetime import timedelta
from monitor.features.demo import demo
from monitor.features.demo import story
demo.PLAY_S = 12.0
demo.STATIONS = 3  # of six: half of the trainings
demo.DAYS = 18.0  # of 45: less than half of the readings, and of the trainings again
story.ACCELERATES, story.CREEP_MM_PER_DAY = timedelta(days=9), 2.3  # the last hours are those of the whole
# so short a record teaches no week, and fits the tail of no small budget
story.TAIL = story.TAIL.replace(', "7d"]', "]").replace("month = 0.5", "month = 2.0")
from monitor.cli.main import main
main(sys.argv[1:])
"""
NETWORKS = ("gru", "lstm", "graph-gru")
ONE_NETWORK = """
from monitor.features.demo import worth
story.TAIL = story.TAIL.replace('"gru", "lstm", "graph-gru"', '"gru"')
demo.NETWORKS = worth.NETWORKS = ("gru",)
from monitor.cli.main import main
"""


def run_demo(folder, networks, before=()):
    # of the tutorial's installation, which is not the demonstration's
    environment = os.environ | {"SLOPEWARD_DATABASE__URL": "sqlite:////nowhere/x.db", "SLOPEWARD_WEB__PORT": "1"}
    program = SHORT
    if networks != NETWORKS:
        program = SHORT.replace("from monitor.cli.main import main\n", ONE_NETWORK.lstrip())
        environment = hurry_services(environment)
    done = subprocess.run(
        [*before, sys.executable, "-c", program, "demo", "--once", "--json", "--folder", str(folder / "demo")],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=1200,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def nothing_runs_in(folder):
    return not [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(folder).encode() in _read(p)]


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.soak
@pytest.mark.timeout(1260)
@pytest.mark.parametrize("networks", with_soak(("gru",), NETWORKS))
def test_a_newcomer_sees_everything_on_a_machine_without_mosquitto(tmp_path, networks):
    status, counted, words = run_demo(tmp_path, networks, before=hide_mosquitto())
    assert status == 0, "\n".join([*map(str, counted["trouble"]), words])
    assert counted["observations"] > 12_000
    assert {"combined", *networks, "line", "persistence"} <= set(counted["forecasters"])
    assert all(one["shown"] or one["not_shown_because"] for one in counted["forecasters"].values())
    for name in networks:
        assert counted["forecasters"][name]["own"]["horizons"], "what it forecasts by itself"
        assert counted["forecasters"][name]["past"]["n"] > 0, "what it erred, beside a straight line"
    assert "errors on the past" in words
    assert counted["anomalies"]["ae"]["scores"] > 0
    assert counted["anomalies"]["ae"]["budget_per_sensor_month"] > 0
    assert counted["degraded"]
    assert "degraded: the broker is not durable; install Mosquitto" in words
    assert "\ndone in " in words
    assert counted["footprints"] > 0
    assert counted["anomaly_scores"] > 0
    assert counted["top_level"] == 3
    assert counted["notifications"]["delivered"] >= 1  # a busy machine may see only the top of the climb
    assert (counted["notifications"]["failed"], counted["rejected"], counted["trouble"]) == (0, 1, [])
    assert counted["page_url"].startswith("http://127.0.0.1:")
    assert nothing_runs_in(tmp_path / "demo")
    assert json.loads((tmp_path / "demo/truth.json").read_text())["failure_at"]


def test_what_moves_is_waited_for_and_what_stands_is_given_up(monkeypatch):
    clock, looks = iter(range(0, 10_000, 20)), iter(range(30))
    monkeypatch.setattr(demo, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    stage = SimpleNamespace(stop=Event(), service=SimpleNamespace(poll=lambda: None))
    assert demo.wait_until(lambda: ((now := next(looks)) == 29, now), 60.0, stage, 0.0)  # a slow machine: 1,200 s
    begun = next(clock)
    assert not demo.wait_until(lambda: (False, "the same"), 60.0, stage, 0.0)
    assert next(clock) - begun <= 160


@pytest.mark.parametrize(("level", "is_complete"), [(0, False), (1, False), (2, False), (3, True)])
def test_the_summary_waits_for_the_highest_level_also_without_pytorch(level, is_complete):
    counted = {
        "missing": "torch",
        "observations": 1,
        "forecasters": {"persistence": {}},
        "notifications": {"delivered": 1},
        "top_level": level,
    }
    assert demo._has_reached_top(counted) == is_complete
