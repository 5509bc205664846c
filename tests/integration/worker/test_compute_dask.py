"""Jobs on a real Dask scheduler and worker: the same answers, the same limits, one line where something fails."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import JobError
from monitor.worker import compute
from monitor.worker.records import Task
from tests.conftest import REPOSITORY, free_port, wait_for

BODY = """
import os, time
def double(payload): return {"x": list(payload["x"] * 2), "pid": os.getpid()}
def fail(payload): raise ValueError("no\\n  data")
def sleep(payload): open(payload["path"], "w").write(str(os.getpid())); time.sleep(60)
"""


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler with one worker, each a process of its own on loopback."""
    folder = tmp_path_factory.mktemp("dask")
    (folder / "far_jobs.py").write_text(BODY)
    address = f"tcp://127.0.0.1:{free_port()}"
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}
    place = ["--no-nanny", "--host", "127.0.0.1", "--local-directory", str(folder)]
    commands = (
        ["dask_scheduler", "--host", address, "--no-dashboard", "--no-show"],
        ["dask_worker", address, "--nthreads", "1", "--no-dashboard", *place],
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{name}", *rest],
            env=environment, cwd=folder, stderr=subprocess.DEVNULL,
        )
        for name, *rest in commands
    ]  # fmt: skip
    try:
        yield address
    finally:
        for process in reversed(processes):
            process.kill()  # a worker that has lost its scheduler may take its time to end in order
        for process in processes:
            process.wait()


def test_a_job_runs_in_a_process_of_the_workers_machine(dask: str) -> None:
    answer = compute.run(Task("far_jobs:double", dict, dict), {"x": np.arange(3.0)}, 60, dask=dask)
    assert answer["x"] == [0.0, 2.0, 4.0]
    assert answer["pid"] != os.getpid()
    with pytest.raises(JobError, match=f"ValueError: no data .on {dask}") as error:
        compute.run(Task("far_jobs:fail", dict, dict), {}, 60, dask=dask)
    assert "\n" not in str(error.value)


def test_a_job_is_ended_at_its_limit_there_too(dask: str, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pytest.raises(JobError, match="killed at its limit of 8 s"):
        compute.run(Task("far_jobs:sleep", dict, dict), {"path": str(path)}, 8, dask=dask)  # a busy machine begins late
    wait_for(lambda: not Path(f"/proc/{path.read_text()}").exists(), what="the end of the job's process")
    assert compute.run(Task("far_jobs:double", dict, dict), {"x": [1]}, 60, dask=dask)["x"] == [1, 1]


def test_a_scheduler_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "CONNECT_S", 0.5)
    with pytest.raises(JobError, match=r"on tcp://127\.0\.0\.1:1: ") as error:
        compute.run(Task("far_jobs:double", dict, dict), {"x": 1}, 5, dask="tcp://127.0.0.1:1")
    assert "\n" not in str(error.value)
