"""Jobs on a real Dask cluster over TLS: the same answers to the last bit, lost workers, other versions."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster

from forecasting.serving.records import TrainingRequest
from monitor.errors import JobError, NoWorkerError
from monitor.features.forecasts import tasks
from monitor.features.scale_out import cluster
from monitor.features.scale_out.cluster import DaskCluster, find_cluster
from monitor.features.scenes.tasks import READ_ONE
from monitor.settings.service import ComputeSection
from monitor.worker import compute
from monitor.worker.records import WorkerTask, record_to_plain
from monitor.worker.service_jobs import run_in_worker
from tests.data.drawn_scenes import draw, may, request_scene
from tests.features.scale_out.cluster import FarCluster, start_cluster
from tests.fixtures.waiting import REPOSITORY, wait_for

BODY = """
import os, time
def double(payload): return {"x": list(payload["x"] * 2), "pid": os.getpid(), "parent_pid": os.getppid()}
def fail(payload): raise ValueError("no\\n  data")
def sleep(payload): open(payload["path"], "a").write(f"{os.getpid()}\\n"); time.sleep(payload["s"]); return {}
"""
DOUBLE, FAIL, SLEEP = (WorkerTask(f"far_jobs:{name}", dict, dict) for name in ("double", "fail", "sleep"))


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarCluster]:
    """A scheduler and workers of one thread, each a process of its own on loopback; `start` adds a worker."""
    folder = tmp_path_factory.mktemp("dask")
    (folder / "far_jobs.py").write_text(BODY)
    with start_cluster(folder) as found:
        yield found


def test_a_job_runs_in_a_process_of_the_workers_machine(far: FarCluster) -> None:
    answer = compute.run(DOUBLE, {"x": np.arange(3.0)}, 60, cluster=far.where)
    assert answer["x"] == [0.0, 2.0, 4.0]
    assert answer["pid"] != os.getpid()
    with pytest.raises(JobError, match=f"ValueError: no data .on {far.where.address}") as error:
        compute.run(FAIL, {}, 60, cluster=far.where)
    assert "\n" not in str(error.value)


@pytest.mark.soak
def test_forecasts_of_a_site_in_pieces_are_the_same_to_the_last_bit(far, monkeypatch):
    monkeypatch.setattr(tasks, "POINTS_AT_ONCE", 3)
    pieces = tasks.split_points(draw_site(8))
    assert [len(one.record.samples) for one in pieces] == [3, 3, 2]
    here = tasks.join_points(compute.run_all(tasks.FORECAST_PANEL, pieces, 60))
    there = tasks.join_points(compute.run_all(tasks.FORECAST_PANEL, pieces, 60, far.where))
    assert len(here.rows) == 8 * 3
    assert list(map(bare, there.rows)) == list(map(bare, here.rows))


def test_jobs_and_forecasts_run_on_a_local_cluster_of_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far_jobs.py").write_text(BODY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{REPOSITORY}")  # for the workers and their jobs
    monkeypatch.setattr(tasks, "POINTS_AT_ONCE", 2)
    pieces = tasks.split_points(draw_site(4))
    here = tasks.join_points(compute.run_all(tasks.FORECAST_PANEL, pieces, 60))
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # any free port; None stands for 8787
        local_directory=str(tmp_path),
    ) as local:
        where = find_cluster(ComputeSection(dask=local.scheduler_address))
        try:
            assert where.count_threads() == 2
            answer = compute.run(DOUBLE, {"x": np.arange(3.0)}, 60, cluster=where)
            there = tasks.join_points(compute.run_all(tasks.FORECAST_PANEL, pieces, 60, where))
        finally:
            cluster._forget(where)
        assert answer["x"] == [0.0, 2.0, 4.0]
        assert answer["parent_pid"] in {worker.pid for worker in local.workers.values()}
    assert len(here.rows) == 4 * 3
    assert list(map(bare, there.rows)) == list(map(bare, here.rows))


@pytest.mark.soak
def test_a_network_trained_and_a_scene_read_there_have_the_same_bytes(far: FarCluster, tmp_path: Path) -> None:
    tls = {f"dask_{name}": getattr(far.where, name) for name in ("ca_file", "cert_file", "key_file")}
    plans = {"here": ComputeSection(), "there": ComputeSection(dask=far.where.address, **tls)}
    scene = tmp_path / "inbox" / "may"
    draw(scene, may(7), 1.0)
    found = {}
    for name, plan in plans.items():
        folder = tmp_path / name
        folder.mkdir()
        training = TrainingRequest("gru", (86400.0,), folder, epochs=1, stride=4, time_limit_s=120.0)
        asked = tasks.NetworkTrainingRequest(draw_site(1, 220).record, training)
        made = run_in_worker(plan, tasks.TRAIN_FORECASTER, asked, writes=[folder])
        assert not made.refused
        read = run_in_worker(plan, READ_ONE, request_scene(scene, folder / "scene"), reads=[scene], writes=[folder])
        assert read.read is not None, read
        assert len(read.read.polygons) == 1
        found[name] = {
            "weights": Path(made.path).with_suffix(".safetensors").read_bytes(),
            "hash": made.model_hash,
            "losses": made.card["training"]["losses"],
            "outlines": read.read.polygons,
            "probabilities": (folder / "scene" / "prob.tif").read_bytes(),
        }
    for what, here in found["here"].items():
        assert found["there"][what] == here, what


def bare(row: Any) -> Any:
    """Without how long it took."""
    return {k: v for k, v in record_to_plain(row).items() if k != "latency_ms"}


def draw_site(points: int, days: int = 90) -> tasks.PanelForecastRequest:
    from array import array

    day_s, walk = 86400.0, np.random.default_rng(7).normal(0.3, 1.0, (points, days)).cumsum(axis=1)
    times = array("d", (day_s * k for k in range(days)))
    samples = {f"P{k}": (times, array("d", walk[k])) for k in range(points)}
    record = tasks.SiteRecord(samples, day_s, (days - 1) * day_s)
    return tasks.PanelForecastRequest(record, (day_s,))


def test_a_job_is_ended_at_its_limit_there_too(far: FarCluster, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pytest.raises(JobError, match="killed at its limit of 6 s"):  # a busy machine begins late
        compute.run(SLEEP, {"path": str(path), "s": 60}, 6, cluster=far.where)
    wait_for(
        lambda: not Path(f"/proc/{path.read_text().split()[0]}").exists(), description="the end of the job's process"
    )


def test_another_version_is_said_before_anything_runs(far: FarCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cluster.list_versions()
    monkeypatch.setattr(cluster, "list_versions", lambda: before | {"numpy": "1.0"})
    with pytest.raises(NoWorkerError, match=r"numpy is 1\.0 here and .* there .*install the same on all machines"):
        compute.run(DOUBLE, {"x": 1}, 60, cluster=far.where)


@pytest.mark.soak
def test_a_worker_that_is_lost_is_followed_by_another(far: FarCluster, tmp_path: Path) -> None:
    path = tmp_path / "pids"

    def begun(times: int) -> Callable[[], bool]:
        return lambda: path.exists() and len(path.read_text().split()) == times

    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(compute.run(SLEEP, {"path": str(path), "s": 3}, 60, cluster=far.where))
        except JobError as error:
            answers.append(str(error))

    before = tmp_path / "before"  # a job of more than one look (POLL_S)
    compute.run(SLEEP, {"path": str(before), "s": 1.5}, 60, cluster=far.where)
    thread = Thread(target=ask)
    thread.start()
    wait_for(begun(1), description="the job to begin")
    second = far.start("second")
    os.kill(far.first.pid, signal.SIGKILL)
    thread.join(60)
    assert answers == [{}]
    assert begun(2)(), "it ran again from its beginning"
    thread = Thread(target=ask)
    thread.start()
    wait_for(begun(3), description="the job to begin")
    third = far.start("third")
    second.kill()
    wait_for(begun(4), description="the job to begin again")
    third.kill()
    thread.join(60)
    far.first = far.start("fourth")  # tests run in any order: the others need one
    assert answers[1:] == [f"far_jobs:sleep: 2 workers of {far.where.address} were lost under it"]
    compute.run(DOUBLE, {"x": np.arange(3.0)}, 60, cluster=far.where)
    assert len(before.read_text().split()) == 1, "what was answered is not worked out again where its worker is lost"


def test_who_has_no_certificate_is_refused_and_a_scheduler_that_is_not_there_is_one_line(far, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 1.0)
    for where in (DaskCluster("tcp://127.0.0.1:1"), DaskCluster(far.where.address.replace("tls", "tcp"))):
        monkeypatch.setattr(compute, "_troubles", {})
        with pytest.raises(NoWorkerError, match=rf"\(on {where.address}\)") as error:
            compute.run(DOUBLE, {"x": 1}, 5, cluster=where)
        with pytest.raises(JobError, match="No module named"):  # it begins, on this machine
            compute.run(DOUBLE, {}, 60)
        assert where.address in compute.find_trouble(), "a job that runs here says nothing of the cluster"
        monkeypatch.setattr(compute, "_troubles", {})
        with pytest.raises(NoWorkerError):
            list(compute.run_each(DOUBLE, [{"x": 1}, {"x": 2}], 5, cluster=where))
        assert where.address in compute.find_trouble(), "nor is it silent where many jobs were to go there"
        assert "\n" not in str(error.value)
