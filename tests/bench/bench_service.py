"""Figures of the frame: how fast help answers, how fast the service is ready and ends, how much memory it holds.

pytest -q -s tests/bench/bench_service.py
"""

import subprocess
import sys
import time

import pytest

from tests.end_to_end.test_service_run import Service


@pytest.fixture
def service(tmp_path):
    one = Service(tmp_path)
    yield one
    one.stop()


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))


def test_help_answers_within_half_a_second():
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "monitor.cli.main", "--help"], capture_output=True, check=True)
        times.append(time.monotonic() - began)
    print(f"\nslopeward --help: {min(times):.3f} s (best of 5), {max(times):.3f} s (worst)")
    assert min(times) < 0.5


def test_start_stop_memory(service):
    began = time.monotonic()
    service.start()
    first = time.monotonic() - began
    service.publish(0, 2000)
    while service.count() < 2000:
        time.sleep(0.05)
    core, page = (service.child(m) for m in ("monitor.daemon", "monitor.web.server"))
    memory = {"core": resident_mib(core), "page": resident_mib(page), "supervisor": resident_mib(service.process.pid)}
    began = time.monotonic()
    service.process.terminate()
    service.process.wait(20)
    stop = time.monotonic() - began
    service.stop()
    (service.folder / "log").write_text("")
    began = time.monotonic()
    service.start()
    again = time.monotonic() - began
    print(f"\nstart-up: {first:.1f} s with a new database, {again:.1f} s with an old one (< 5 s); stop: {stop:.1f} s")
    print("resident: " + ", ".join(f"{name} {size:.0f} MiB" for name, size in memory.items()))
    assert again < 5
