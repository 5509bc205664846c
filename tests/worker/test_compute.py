"""Test jobs in worker processes: results, progress, limits and errors of one line."""

import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest

from monitor.errors import JobError, NoWorkerError
from monitor.worker import compute
from monitor.worker.records import WorkerTask
from tests.fixtures.waiting import REPOSITORY, wait_for

BODY = """
import os, sys, time, threading
def double(payload): return {"x": list(payload["x"] * 2), "pid": os.getpid(), "omp": os.environ["OMP_NUM_THREADS"],
                             "loaded": sorted(m for m in sys.modules if m.split(".")[0] in ("sqlalchemy", "torch"))}
def fail(payload): raise ValueError("no\\n  data")
def sleep(payload): time.sleep(60)
def stubborn(payload):
    import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)
def die(payload): os.kill(os.getpid(), 9)
def wrong(payload): return 3
def array(payload):
    import numpy; return {"x": numpy.zeros(3)}
def lists(payload): return {"x": [[]] * payload["n"]}
def chatty(payload, progress):
    for i in range(3): progress({"step": i})
    return {}
"""


def make_task(name):
    return WorkerTask(name, dict, dict)


@pytest.fixture(autouse=True)
def jobs(tmp_path, monkeypatch):
    (tmp_path / "some_jobs.py").write_text(BODY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{REPOSITORY}")


def test_result_and_progress_of_another_process_are_returned():
    result = compute.run(make_task("some_jobs:double"), {"x": np.arange(3.0)}, 30)
    assert result["x"] == [0.0, 2.0, 4.0]
    assert result["pid"] != os.getpid()
    assert (result["omp"], result["loaded"]) == ("1", [])
    progress = []
    compute.run(make_task("some_jobs:chatty"), {}, 30, progress.append)
    assert progress == [{"step": 0}, {"step": 1}, {"step": 2}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("some_jobs:fail", "ValueError: no data"),
        ("some_jobs:die", "killed by signal 9"),
        ("some_jobs:wrong", "the answer: expected an object, got int"),
        ("some_jobs:array", "TypeError: ndarray is no plain data"),
        ("some_jobs:nothing", "AttributeError"),
        ("no_such_module:x", "ModuleNotFoundError"),
    ],
)
def test_failure_is_one_line(name, text):
    with pytest.raises(JobError) as caught:
        compute.run(make_task(name), {}, 30)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["sleep", "stubborn"])
def test_job_is_killed_at_its_limit(name, monkeypatch):
    monkeypatch.setattr(compute, "GRACE_S", 0.3)
    started = time.monotonic()
    with pytest.raises(JobError, match="killed at its limit of 1 s"):
        compute.run(make_task(f"some_jobs:{name}"), {}, 1)
    assert time.monotonic() - started < 30  # the job sleeps for a minute


@pytest.mark.parametrize("line", [b"{", b"[" * 100_000, b"7"])
def test_invalid_progress_ends_the_job(tmp_path, line):
    (tmp_path / "progress").write_bytes(line + b"\n")
    with pytest.raises(JobError, match="progress"):
        compute._report_progress(tmp_path, 0, lambda _: None)


def test_full_disk_of_temporary_files_raises_no_worker_error(monkeypatch):
    monkeypatch.setattr(compute, "_start_problems", {})  # another test may have used a cluster
    with monkeypatch.context() as patch:
        patch.setattr(compute.pickle, "dump", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(NoWorkerError, match="could not be started: No space left; make room in "):
            compute.run(make_task("some_jobs:double"), {"x": np.arange(2.0)}, 60)
    assert compute.find_start_problem().startswith("its process could not be started: No space left; make room in ")
    compute.run(make_task("some_jobs:double"), {"x": np.arange(2.0)}, 60)
    assert compute.find_start_problem() == "", "the next job started"


def test_job_ends_with_the_service(tmp_path):
    (tmp_path / "more_jobs.py").write_text(
        "import os,time\ndef mark(p):\n open(p['path'],'w').write(str(os.getpid()))\n time.sleep(60)\n"
    )
    path = tmp_path / "pid"
    code = (
        "from monitor.worker import compute; from monitor.worker.records import WorkerTask\n"
        f"compute.run(WorkerTask('more_jobs:mark', dict, dict), {{'path': {str(path)!r}}}, 60)"
    )
    service = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(lambda: path.exists() and path.read_text())
    finally:
        service.kill()
        service.wait()
    wait_for(lambda: not os.path.exists(f"/proc/{path.read_text()}") or _is_zombie(path.read_text()))


def _is_zombie(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().split(") ")[1][0] == "Z"


def test_folders_of_killed_services_are_removed_and_those_of_running_services_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned = tmp_path / "slopeward-job-1"
    young = tmp_path / "slopeward-job-2"
    other = tmp_path / "mine"
    for folder in (abandoned, young, other):
        folder.mkdir()
        (folder / "request").write_bytes(b"x")
    (tmp_path / "slopeward-job-link").symlink_to(other)
    worker = compute._start("some_jobs:double")
    try:
        with compute.temporary_folder() as temporary:
            for folder in (abandoned, other, worker.folder, temporary):
                os.utime(folder, (1.0, 1.0))
            assert compute.remove_abandoned_folders() == 1
            names = {path.name for path in tmp_path.iterdir()}
            remaining = {
                young.name,
                other.name,
                worker.folder.name,
                temporary.name,
                "slopeward-job-link",
                "some_jobs.py",
            }
            assert names == remaining
        assert not temporary.exists()
    finally:
        worker.end()
    assert not worker.folder.exists()


def test_result_with_too_many_values_or_bytes_is_rejected(monkeypatch):
    """A result of 256 MiB that contains only `[]` would become 5 GB of lists."""
    monkeypatch.setattr(compute, "MAX_RESULT_VALUES", 1000)
    assert len(compute.run(make_task("some_jobs:lists"), {"n": 400}, 30)["x"]) == 400
    with pytest.raises(JobError, match=r"lists: answered about 1[0-9]{3} values, more than 1000"):
        compute.run(make_task("some_jobs:lists"), {"n": 600}, 30)
    monkeypatch.setattr(compute, "MAX_RESULT_BYTES", 100)
    with pytest.raises(JobError, match="more than 100"):
        compute.run(make_task("some_jobs:double"), {"x": "y" * 1000}, 30)
