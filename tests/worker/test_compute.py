"""Jobs run in a process of their own, end at their limit, and fail in one line."""

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


def job(name):
    return WorkerTask(name, dict, dict)


@pytest.fixture(autouse=True)
def jobs(tmp_path, monkeypatch):
    (tmp_path / "some_jobs.py").write_text(BODY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{REPOSITORY}")


def test_answers_and_progress_come_back_from_another_process():
    answer = compute.run(job("some_jobs:double"), {"x": np.arange(3.0)}, 30)
    assert answer["x"] == [0.0, 2.0, 4.0]
    assert answer["pid"] != os.getpid()
    assert (answer["omp"], answer["loaded"]) == ("1", [])
    seen = []
    compute.run(job("some_jobs:chatty"), {}, 30, seen.append)
    assert seen == [{"step": 0}, {"step": 1}, {"step": 2}]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("some_jobs:fail", "ValueError: no data"),
        ("some_jobs:die", "killed by signal 9"),
        ("some_jobs:wrong", "the answer: expected an object, got int"),
        ("some_jobs:array", "TypeError: ndarray is no plain data"),
        ("some_jobs:nothing", "AttributeError"),
        ("no_such_module:x", "ModuleNotFoundError"),
    ],
)
def test_a_failure_is_one_line(name, words):
    with pytest.raises(JobError) as error:
        compute.run(job(name), {}, 30)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["sleep", "stubborn"])
def test_killed_at_the_limit(name, monkeypatch):
    monkeypatch.setattr(compute, "GRACE_S", 0.3)
    started = time.monotonic()
    with pytest.raises(JobError, match="killed at its limit of 1 s"):
        compute.run(job(f"some_jobs:{name}"), {}, 1)
    assert time.monotonic() - started < 30  # it would take a minute


@pytest.mark.parametrize("line", [b"{", b"[" * 100_000, b"7"])
def test_progress_that_is_none_ends_the_job(tmp_path, line):
    (tmp_path / "progress").write_bytes(line + b"\n")
    with pytest.raises(JobError, match="progress"):
        compute._report(tmp_path, 0, lambda _: None)


def test_a_full_disk_of_temporary_files_is_said_and_is_no_fault_of_what_the_job_was_given(monkeypatch):
    monkeypatch.setattr(compute, "_troubles", {})  # of a cluster that another test asked
    with monkeypatch.context() as full:
        full.setattr(compute.pickle, "dump", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(NoWorkerError, match="could not be started: No space left; make room in "):
            compute.run(job("some_jobs:double"), {"x": np.arange(2.0)}, 60)
    assert compute.find_trouble().startswith("its process could not be started: No space left; make room in ")
    compute.run(job("some_jobs:double"), {"x": np.arange(2.0)}, 60)
    assert compute.find_trouble() == "", "the next job began"


def test_the_job_ends_with_the_service(tmp_path):
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


def test_what_killed_services_left_of_their_jobs_is_removed_and_that_of_living_ones_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, young, other = tmp_path / "slopeward-job-1", tmp_path / "slopeward-job-2", tmp_path / "mine"
    for folder in (left, young, other):
        folder.mkdir()
        (folder / "asked").write_bytes(b"x")
    (tmp_path / "slopeward-job-link").symlink_to(other)
    child = compute._start("some_jobs:double")
    try:
        with compute.own_folder() as own:
            for folder in (left, other, child.folder, own):
                os.utime(folder, (1.0, 1.0))
            assert compute.sweep_folders() == 1
            kept = {young.name, other.name, child.folder.name, own.name, "slopeward-job-link", "some_jobs.py"}
            assert {path.name for path in tmp_path.iterdir()} == kept
        assert not own.exists()
    finally:
        child.end()
    assert not child.folder.exists()


def test_an_answer_of_more_values_or_bytes_than_memory_should_hold_is_not_read(monkeypatch):
    """256 MiB of `[]` would become 5 GB of lists."""
    monkeypatch.setattr(compute, "MOST_VALUES", 1000)
    assert len(compute.run(job("some_jobs:lists"), {"n": 400}, 30)["x"]) == 400
    with pytest.raises(JobError, match=r"some_jobs:lists: answered about 1[0-9]{3} values, more than 1000"):
        compute.run(job("some_jobs:lists"), {"n": 600}, 30)
    monkeypatch.setattr(compute, "RESULT_LIMIT_BYTES", 100)
    with pytest.raises(JobError, match="more than 100"):
        compute.run(job("some_jobs:double"), {"x": "y" * 1000}, 30)
